"""The two places a staging can be in: a folder of this machine, or whatever pyarrow can open.

Both offer the same few operations on paths relative to the staging. A folder is first class:
a file is written aside, forced to disk and renamed, its folder forced to disk too. On object
storage one put is the publication. The two are one module, somewhat long, since they have to behave
alike.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from tasks.errors import InUseError, StagingError
from tasks.staging.layout import SUFFIX, unique

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TMP = ".tmp"
LOCKS = ".locks"


_ROOM = "make room and run the command again: nothing is lost"
_RIGHTS = "let this user write there, or change HALO_STAGING"
_REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
}


Guard = Callable[[str], contextlib.AbstractContextManager[None]]
"""Holds the lock of this name among all processes, or raises `InUseError`."""


class FileGone(StagingError):  # noqa: N818 - reads as a sentence, as its siblings do
    """A file that was listed is not there any more: replaced by another run. List again."""


@dataclass
class Pending:
    """A file that is being written: its bytes go to `sink`, its `name` must be set in the end."""

    sink: Any
    name: str = ""


class Files(Protocol):
    """What a place offers. Paths are relative and use `/`; folders need not exist."""

    def folders(self, path: str) -> list[str]:
        """Names of the folders in a folder, sorted; none where there is no such folder."""

    def names(self, path: str) -> list[str]:
        """Names of the Parquet files in a folder, sorted; none where there is no such folder."""

    def tree(self, path: str) -> dict[str, list[str]]:
        """Names of the Parquet files in each folder in a folder, both sorted."""

    def create(self, path: str, owner: str) -> contextlib.AbstractContextManager[Pending]:
        """A file to be filled, published in the folder `path` when the body is done.

        `owner` names the lock under which the file is written. Where the body raises, or gives
        the file no name, nothing is published.
        """

    def room(self, path: str, owner: str, size: int) -> contextlib.AbstractContextManager[object]:
        """Room for a file of so many bytes in a folder, held until the context is left.

        Raises:
            StagingError: There is none, or the folder cannot be written.
        """

    def open(self, path: str) -> contextlib.AbstractContextManager[Any]:
        """A file to be read.

        Raises:
            FileGone: There is no such file.
        """

    def remove(self, path: str) -> None:
        """Remove a file; one that is not there is fine."""

    def lock(self, owner: str, *, wait: bool) -> contextlib.AbstractContextManager[None]:
        """Hold a lock.

        Raises:
            InUseError: Somebody else holds it, and `wait` is off.
        """


@contextlib.contextmanager
def _reading(where: object, path: str) -> Iterator[None]:
    """What goes wrong when a file of the staging is read, as a `StagingError` that names it."""
    try:
        yield
    except FileNotFoundError as gone:
        raise FileGone(f"{where} is not there any more; run the command again") from gone
    except (OSError, pa.ArrowException) as broken:
        if isinstance(broken, OSError) and broken.errno:
            raise _fault(broken, where) from broken
        # Arrow says of damaged pages that they are an OSError, too
        raise StagingError(
            f"{where} is no Parquet file that can be read ({broken}); "
            f"restore it, or move it out of the staging: {_without(path)}"
        ) from broken


def _without(path: str) -> str:
    """What brings back what a file of the staging had."""
    stage, name = path.partition("/")[0], path.rpartition("/")[2]
    if stage == "deliveries":
        return "its events are then sent again"
    if stage == "normalized":
        return "the next `halo-usm transform` makes it again"
    command = "extract" if stage == "raw" or name.startswith("extract-") else "transform"
    day = re.search(r"/date=(\d{4}-\d{2}-\d{2})/", path)
    since = f" --since {day[1]}" if day else ""
    return f"`halo-usm {command}{since} --until …` makes it again"


@contextlib.contextmanager
def _faults(where: object) -> Iterator[None]:
    """What the operating system says, as a `StagingError` that names the file."""
    try:
        yield
    except OSError as fault:
        raise _fault(fault, where) from fault


def _fault(fault: OSError, where: object) -> StagingError:
    remedy = _REMEDIES.get(fault.errno or 0, "put it right and run the command again")
    return StagingError(f"{fault.filename or where}: {fault.strerror or fault}; {remedy}")


def in_use(owner: str) -> InUseError:
    """What a lock says that somebody else holds."""
    kind, _, name = owner.partition("=")
    return InUseError(f"{kind} {name} is in the hands of another run, and is left to it")


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class LocalFiles:
    """A folder of this machine (or one mounted on it)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._synced: set[Path] = set()

    def __str__(self) -> str:
        return str(self.root)

    def folders(self, path: str) -> list[str]:
        """See `Files`."""
        with _faults(self.root / path):
            try:
                with os.scandir(self.root / path) as entries:
                    return sorted(entry.name for entry in entries if entry.is_dir())
            except FileNotFoundError:
                return []

    def names(self, path: str) -> list[str]:
        """See `Files`."""
        with _faults(self.root / path):
            try:
                names = os.listdir(self.root / path)  # noqa: PTH208 - names only, by the thousand
            except FileNotFoundError:
                return []
        return sorted([name for name in names if name.endswith(SUFFIX)])

    def tree(self, path: str) -> dict[str, list[str]]:
        """See `Files`."""
        return {folder: self.names(f"{path}/{folder}") for folder in self.folders(path)}

    @contextlib.contextmanager
    def create(self, path: str, owner: str) -> Iterator[Pending]:
        """See `Files`: written in `.tmp`, synced, renamed, and the folder synced."""
        aside = self.root / TMP / f"{owner}~{unique()}"
        folder = self.root / path
        with _faults(folder):
            self._make_folder(aside.parent)
            self._make_folder(folder)
            try:
                with aside.open("xb") as sink:
                    pending = Pending(sink)
                    yield pending
                    sink.flush()
                    os.fsync(sink.fileno())
                if pending.name:
                    aside.rename(folder / pending.name)
                else:
                    aside.unlink()
            except BaseException:
                aside.unlink(missing_ok=True)
                raise
            _sync_folder(folder)

    def room(self, path: str, owner: str, size: int) -> contextlib.AbstractContextManager[object]:
        """See `Files`: a file without a name, which the kernel frees when its holder dies."""
        aside = self.root / TMP / f"{owner}~{unique()}"
        folder = self.root / path
        with _faults(folder), contextlib.ExitStack() as opened:
            self._make_folder(aside.parent)
            self._make_folder(folder)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
            probe = opened.enter_context(aside.open("xb", buffering=0))
            aside.unlink()
            while size > 0:  # a disk takes what it can before it says that it is full
                size -= probe.write(bytes(size))
            os.fsync(probe.fileno())  # some file systems say so no earlier
            opened.pop_all()
        return probe

    @contextlib.contextmanager
    def open(self, path: str) -> Iterator[Any]:
        """See `Files`."""
        with _reading(self.root / path, path), pa.OSFile(str(self.root / path)) as source:
            yield source

    def remove(self, path: str) -> None:
        """See `Files`."""
        with _faults(self.root / path):
            (self.root / path).unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(self, owner: str, *, wait: bool) -> Iterator[None]:
        """See `Files`: `flock` on an empty file, which the kernel frees when its holder dies."""
        path = self.root / LOCKS / owner
        with _faults(path):
            self._make_folder(path.parent)
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except OSError as fault:
                if fault.errno in {errno.EWOULDBLOCK, errno.EACCES}:
                    raise in_use(owner) from None
                raise StagingError(
                    f"{path} cannot be locked ({fault.strerror}); "
                    "the staging needs a file system with flock"
                ) from fault
            if not wait:
                self._sweep(owner)
            yield
        finally:
            os.close(fd)

    def _make_folder(self, path: Path) -> None:
        """Make a folder and what is missing above it, each entry forced to disk.

        So is the entry of one that is there: who made it may have died before it was.
        """
        ours = path != self.root and path.is_relative_to(self.root)
        if path.is_dir() and (path in self._synced or not ours):
            return
        self._make_folder(path.parent)
        try:
            path.mkdir(exist_ok=True)  # another thread or process may have made it meanwhile
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None
        _sync_folder(path.parent)
        self._synced.add(path)

    def _sweep(self, owner: str) -> None:
        """Remove what the lock's earlier holders left half written: they are all dead."""
        with _faults(self.root / TMP):
            for leftover in (self.root / TMP).glob(f"{owner}~*"):
                leftover.unlink(missing_ok=True)


class RemoteFiles:
    """A file system of pyarrow's: object storage, or anything else a URI of it names."""

    _locks: dict[str, threading.Lock] = {}  # noqa: RUF012 - shared by all on purpose
    _FLAT = ("s3", "gcs", "abfs")

    def __init__(self, filesystem: Any, root: str, guard: Guard | None = None) -> None:
        self.filesystem = filesystem
        self.root = root.rstrip("/")
        self.guard = guard

    def __str__(self) -> str:
        return f"{self.filesystem.type_name}://{self.root}"

    def _path(self, path: str) -> str:
        return f"{self.root}/{path}" if self.root else path

    def _infos(self, path: str, *, recursive: bool = False) -> list[Any]:
        from pyarrow.fs import FileSelector

        selector = FileSelector(self._path(path), allow_not_found=True, recursive=recursive)
        with _faults(self._path(path)):
            infos: list[Any] = self.filesystem.get_file_info(selector)
        return infos

    def folders(self, path: str) -> list[str]:
        """See `Files`."""
        return sorted(info.base_name for info in self._infos(path) if not info.is_file)

    def names(self, path: str) -> list[str]:
        """See `Files`."""
        return sorted(
            info.base_name
            for info in self._infos(path)
            if info.is_file and info.base_name.endswith(SUFFIX)
        )

    def tree(self, path: str) -> dict[str, list[str]]:
        """See `Files`: one listing for all."""
        found: dict[str, list[str]] = {}
        for info in self._infos(path, recursive=True):
            if info.is_file and info.base_name.endswith(SUFFIX):
                found.setdefault(info.path.rsplit("/", 2)[-2], []).append(info.base_name)
        return {folder: sorted(found[folder]) for folder in sorted(found)}

    @contextlib.contextmanager
    def create(self, path: str, owner: str) -> Iterator[Pending]:  # noqa: ARG002
        """See `Files`: filled in memory, then put at once."""
        pending = Pending(pa.BufferOutputStream())
        yield pending
        if not pending.name:
            return
        with _faults(self._path(path)):
            if self.filesystem.type_name not in self._FLAT:
                self.filesystem.create_dir(self._path(path), recursive=True)
            target = self._path(f"{path}/{pending.name}")
            with self.filesystem.open_output_stream(target) as stream:
                stream.write(pending.sink.getvalue())

    def room(
        self,
        path: str,  # noqa: ARG002
        owner: str,  # noqa: ARG002
        size: int,  # noqa: ARG002
    ) -> contextlib.AbstractContextManager[object]:
        """See `Files`: object storage has no end that could be seen."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def open(self, path: str) -> Iterator[Any]:
        """See `Files`."""
        with (
            _reading(self._path(path), path),
            self.filesystem.open_input_file(self._path(path)) as source,
        ):
            yield source

    def remove(self, path: str) -> None:
        """See `Files`."""
        with _faults(self._path(path)), contextlib.suppress(FileNotFoundError):
            self.filesystem.delete_file(self._path(path))

    @contextlib.contextmanager
    def lock(self, owner: str, *, wait: bool) -> Iterator[None]:
        """See `Files`: within this process; between processes where there is a guard for it."""
        lock = self._locks.setdefault(f"{self}/{owner}", threading.Lock())
        if not lock.acquire(blocking=wait):
            raise in_use(owner)
        try:
            with self.guard(owner) if self.guard and not wait else contextlib.nullcontext():
                yield
        finally:
            lock.release()
