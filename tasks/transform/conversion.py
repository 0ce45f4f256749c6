"""From the raw events of a file to normalized and rejected ones; nothing is published here."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from tasks.errors import StagingError
from tasks.staging.schemas import REJECTED_SCHEMA, TIME
from tasks.staging.storage.files import NewFile, reading
from tasks.staging.storage.local_files import LocalFiles
from tasks.staging.storage.writer import Writer
from tasks.staging.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

RAW_COLUMNS = ["event_id", "created_at", "type", "name", "critical", "event"]


@dataclass
class FileResult:
    """What came of one raw file.

    Attributes:
        normalized: Events that were normalized.
        rejected: Events that could not be.
        unknown_types: Events of each type that the catalogue does not know.
        ids: Of what was normalized, where they are needed.
        warnings: What went wrong on the way and did no harm.
    """

    normalized: int = 0
    rejected: int = 0
    unknown_types: Counter[str] = field(default_factory=Counter)
    ids: list[pa.ChunkedArray] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class ConversionRequest(NamedTuple):
    """A raw file to be normalized.

    Attributes:
        content: Its bytes.
        path: In the staging.
        device_address: HALO_DEVICE_ADDRESS.
        run_id: Kept with what is rejected.
        keep_ids: Whether the ids of what was normalized are needed.
    """

    content: pa.Buffer
    path: str
    device_address: str
    run_id: str
    keep_ids: bool


class ConvertedFile(NamedTuple):
    """What a raw file becomes: the bytes of its normalized file, and of a rejected one."""

    normalized: pa.Buffer
    rejected: pa.Buffer | None
    result: FileResult


def fill(
    batches: Iterable[pa.Table],
    rows: Writer,
    new_rejects: Callable[[], Writer],
    *,
    device_address: str,
    run_id: str,
    keep_ids: bool,
) -> tuple[FileResult, Writer | None]:
    """Normalize raw events, some at a time, into `rows` and, if need be, a writer of rejects.

    Returns:
        What came of them, and the writer of rejects if there are any.
    """
    from tasks.plugin.catalogue import unknown_types
    from tasks.plugin.normalize import normalize

    result = FileResult()
    rejects: Writer | None = None
    for events in batches:
        converted = normalize(events, device_address)
        rows.write(converted.rows)
        result.normalized += converted.rows.num_rows
        result.unknown_types.update(unknown_types(converted.rows))
        if keep_ids:
            result.ids.append(converted.rows["event_id"])
        if converted.rejected.num_rows:
            rejects = rejects or new_rejects()
            rejects.write(_rejected(converted.rejected, run_id))
            result.rejected += converted.rejected.num_rows
    return result, rejects


def _rejected(rejected: pa.Table, run_id: str) -> pa.Table:
    """What the normalizer rejected, in `REJECTED_SCHEMA`."""
    count = rejected.num_rows
    now = pa.scalar(datetime.now(UTC), TIME)
    return pa.table(
        {
            "event_id": rejected["event_id"],
            "created_at": rejected["created_at"],
            "stage": pa.repeat("transform", count),
            "reason": rejected["reason"],
            "event": rejected["event"],
            "rejected_at": pa.repeat(now, count),
            "run_id": pa.repeat(run_id, count),
        }
    ).cast(REJECTED_SCHEMA)


def convert_file(request: ConversionRequest) -> ConvertedFile | None:
    """What a raw file becomes; None where it is damaged."""
    from tasks.plugin.fields import NORMALIZED_SCHEMA

    rows, rejects = (NewFile(pa.BufferOutputStream()) for _ in range(2))
    writer = Writer(rows, NORMALIZED_SCHEMA)
    try:
        result, rejected = fill(
            Store(_OneFile(request.content)).batches(request.path, RAW_COLUMNS),
            writer,
            lambda: Writer(rejects, REJECTED_SCHEMA),
            device_address=request.device_address,
            run_id=request.run_id,
            keep_ids=request.keep_ids,
        )
    except StagingError:  # the process that asked finds the same fault, and reports it
        return None
    for one in (writer, rejected):
        if one is not None:
            one.close()
    refused = rejects.sink.getvalue() if rejected is not None else None
    return ConvertedFile(rows.sink.getvalue(), refused, result)


class _OneFile(LocalFiles):
    """A place that has one file, in memory."""

    def __init__(self, content: Any) -> None:
        super().__init__(Path())
        self._content = content

    @contextmanager
    def open(self, path: str) -> Iterator[Any]:
        """See `Files`."""
        with reading(path, path):
            yield pa.BufferReader(self._content)
