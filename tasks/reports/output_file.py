"""A file that a command writes for people: complete, or not there at all."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, BinaryIO

from tasks.errors import StagingError, explain
from tasks.staging.storage.local_files import create_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def output_file(path: Path, option: str) -> Iterator[BinaryIO]:
    """Where the bytes of a file go; it appears, or is replaced, when the body is done.

    A new file is for its owner alone, an older one's mode is kept. What is no file but a device or
    a pipe is written to as it is.

    Args:
        path: The file.
        option: The option that named it, for messages.

    Raises:
        StagingError: It cannot be written; so before the body where its folder is not there.
    """
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as device:
                yield device
            return
        aside = path.with_name(f".{path.name}.{os.getpid()}.part")
        aside.unlink(missing_ok=True)
        try:
            with create_private(aside) as sink:
                if path.exists():
                    os.fchmod(sink.fileno(), stat.S_IMODE(path.stat().st_mode))
                yield sink
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as fault:
        fault.filename = str(path)  # not what is written aside
        raise StagingError(f"{option}: {explain(fault, path)}") from fault
