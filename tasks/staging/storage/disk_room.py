"""Room on the disk for a file whose content may turn out to be another one than expected.

What happened must be on record even if the disk is full by then. So beside the expected content,
which is written ahead, a file that nobody reads holds room for another one. Removing it makes the
room. Where it was not needed it serves the next file of the same owner.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from tasks.staging.storage.files import PRIVATE_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MORE = 16_384
"""Bytes by which another content may be longer than twice the expected one."""


class Reserves:
    """Files that hold room, by owner. Safe in several threads."""

    def __init__(self) -> None:
        self._unused: dict[str, list[Path]] = {}

    @contextmanager
    def room(self, owner: str, new: Path, expected: int) -> Iterator[Path]:
        """A file that holds room for another content, to be removed where that is needed.

        Args:
            owner: Whose file it is.
            new: Its path, where there is none of the owner's to be used again.
            expected: The length of the expected content.

        Raises:
            OSError: There is no such room.
        """
        unused = self._unused.setdefault(owner, [])
        file = new
        with suppress(IndexError):
            file = unused.pop()
        try:
            _set_aside(file, 2 * expected + _MORE)
            yield file
        finally:
            if file.exists():
                unused.append(file)

    def remove(self, owner: str) -> None:
        """Leave the room of an owner that writes no more to others.

        Raises:
            OSError: A file cannot be removed.
        """
        for file in self._unused.pop(owner, []):
            file.unlink(missing_ok=True)


def force(sink: BinaryIO) -> None:
    """Have on disk what was written; some file systems say no earlier that they are full."""
    sink.flush()
    os.fsync(sink.fileno())


def _set_aside(file: Path, size: int) -> None:
    """Have the disk keep so much room for a file, or say now that there is none."""
    fd = os.open(file, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
    with os.fdopen(fd, "r+b") as sink:
        if os.fstat(fd).st_size >= size:
            return
        if sys.platform == "darwin":
            sink.write(bytes(size))
        else:
            os.posix_fallocate(fd, 0, size)
        force(sink)
