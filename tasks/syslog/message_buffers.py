"""A batch of messages in memory: views of Arrow's own buffers, without copies."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class MessageBuffer:
    """Messages that lie behind one another.

    Attributes:
        data: Their bytes.
        offsets: Where each begins and the last ends, counted from wherever the first begins.
    """

    data: memoryview
    offsets: memoryview

    def __len__(self) -> int:
        """The number of messages."""
        return len(self.offsets) - 1

    def size(self, index: int) -> int:
        """Bytes of one message."""
        size: int = self.offsets[index + 1] - self.offsets[index]
        return size

    def slice(self, first: int, last: int) -> memoryview:
        """The bytes of messages ``first`` up to, not including, ``last``."""
        start = self.offsets[0]
        return self.data[self.offsets[first] - start : self.offsets[last] - start]


def buffers_of(messages: pa.Array | pa.ChunkedArray) -> list[MessageBuffer]:
    """View binary or string columns, large ones too, as runs; empty chunks give none."""
    chunks = messages.chunks if isinstance(messages, pa.ChunkedArray) else [messages]
    return [_run(chunk) for chunk in chunks if len(chunk)]


def _run(chunk: pa.Array) -> MessageBuffer:
    _, offsets, data = chunk.buffers()
    large = pa.types.is_large_binary(chunk.type) or pa.types.is_large_string(chunk.type)
    ends = memoryview(offsets).cast("B").cast("q" if large else "i")
    ends = ends[chunk.offset : chunk.offset + len(chunk) + 1]
    return MessageBuffer(memoryview(data or b"").cast("B")[ends[0] : ends[-1]], ends)


def touched(runs: list[MessageBuffer], taken: int) -> int:
    """How many messages have a part in the first ``taken`` bytes."""
    count = 0
    for run in runs:
        if taken <= 0:
            break
        count += bisect_left(run.offsets, run.offsets[0] + taken, 0, len(run))
        taken -= len(run.data)
    return count
