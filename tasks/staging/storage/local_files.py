"""A staging in a folder: a file is written aside, forced to disk and renamed, its folder too."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa

from tasks.errors import InUseError, StagingError
from tasks.staging.names.file_names import SUFFIX, unique
from tasks.staging.storage.disk_room import Reserves, force
from tasks.staging.storage.files import (
    OURS_ALONE,
    PRIVATE_FILE,
    PRIVATE_FOLDER,
    NewFile,
    faults,
    in_use,
    reading,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from pathlib import Path

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFLNK: "a link to no file",
}

TMP = ".tmp"
LOCKS = ".locks"

_LEFTOVER = re.compile(r"(?P<owner>(?:account|destination)=[A-Za-z0-9_-]+)~[0-9a-f]+")
_CLEANING = "leftovers"
"""The lock of whoever removes what others left in `.tmp`."""


def create_private(path: Path) -> BinaryIO:
    """Make a new file that its owner alone can read, to be written.

    Raises:
        OSError: It cannot be made, or is there already.
    """
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE), "wb")


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _refuse(path: str) -> None:
    """Refuse what has a file's name and is no file: opening it might never end.

    Raises:
        StagingError: It is there still.
    """
    with contextlib.suppress(FileNotFoundError):
        kind = _KINDS.get(stat.S_IFMT(os.lstat(path).st_mode), "a device")
        raise StagingError(f"{path!r} is no file but {kind}; {OURS_ALONE}")


def _is_gone(path: str) -> bool:
    """Whether what has a file's name and is no file was removed since it was listed."""
    _refuse(path)
    return True


def _remove(leftovers: list[Path]) -> None:
    for leftover in leftovers:
        with faults(leftover):
            leftover.unlink(missing_ok=True)


def _write_anew(sink: BinaryIO, content: pa.Buffer | None) -> None:
    sink.seek(0)
    sink.truncate()
    sink.write(content or b"")
    force(sink)


class LocalFiles:
    """A folder of this machine (or one mounted on it)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._synced: set[Path] = set()
        self._reserves = Reserves()

    def __str__(self) -> str:
        return str(self.root)

    def folders(self, path: str) -> list[str]:
        """See `Files`."""
        with faults(self.root / path):
            try:
                with os.scandir(self.root / path) as entries:
                    return sorted(entry.name for entry in entries if entry.is_dir())
            except FileNotFoundError:
                return []

    def names(self, path: str, suffix: str = SUFFIX) -> list[str]:
        """See `Files`."""
        folder = f"{self.root}/{path}"  # a `Path` would take a tenth of the time
        with faults(folder), contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
            # what an entry is is known from the listing; only a link is looked at
            return sorted(
                [
                    entry.name
                    for entry in entries
                    if entry.name.endswith(suffix) and (entry.is_file() or _is_gone(entry.path))
                ]
            )
        return []

    def names_by_folder(self, path: str, wanted: Callable[[str], bool]) -> dict[str, list[str]]:
        """See `Files`."""
        chosen = filter(wanted, self.folders(path))
        return {folder: self.names(f"{path}/{folder}") for folder in chosen}

    @contextlib.contextmanager
    def create(self, path: str, owner: str, expected: pa.Buffer | None = None) -> Iterator[NewFile]:
        """See `Files`: written in `.tmp`, synced, renamed, and the folder synced."""
        aside = self._aside(owner)
        folder = self.root / path
        with faults(folder):
            self._make_folder(aside.parent)
            self._make_folder(folder)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
            try:
                with create_private(aside) as sink:
                    new_file = NewFile(sink, content=expected)
                    if expected is None:
                        yield new_file
                        force(sink)
                    else:
                        with self._reserves.room(
                            owner, self._aside(owner), expected.size
                        ) as reserve:
                            sink.write(expected)
                            force(sink)
                            yield new_file
                            if new_file.content is not expected:
                                reserve.unlink()
                                _write_anew(sink, new_file.content)
                if new_file.name:
                    aside.rename(folder / new_file.name)
                else:
                    aside.unlink()
            except BaseException:
                aside.unlink(missing_ok=True)
                raise
            _sync_folder(folder)

    def _aside(self, owner: str) -> Path:
        """Where a new file is written."""
        return self.root / TMP / f"{owner}~{unique()}"

    @contextlib.contextmanager
    def open(self, path: str) -> Iterator[Any]:
        """See `Files`."""
        file = self.root / path
        with reading(file, path):
            if not stat.S_ISREG(file.stat().st_mode):  # a seal names it, and no listing refused it
                _refuse(str(file))
            with pa.OSFile(str(file)) as source:
                yield source

    def remove(self, path: str) -> None:
        """See `Files`."""
        with faults(self.root / path):
            (self.root / path).unlink(missing_ok=True)

    def remove_folder(self, path: str) -> None:
        """See `Files`."""
        with contextlib.suppress(OSError):  # it holds something, or is no longer there
            (self.root / path).rmdir()

    @contextlib.contextmanager
    def lock(
        self,
        owner: str,
        *,
        wait: bool,
        run_id: str = "",  # noqa: ARG002 - the lock file is empty
        stop: threading.Event | None = None,  # noqa: ARG002 - the kernel takes no lock away
    ) -> Iterator[None]:
        """See `Files`: `flock` on an empty file, which the kernel frees when its holder dies."""
        with contextlib.ExitStack() as stack:
            if wait:
                stack.enter_context(self._flock(owner, fcntl.LOCK_EX))
            else:
                self._lock_now(owner, stack)
                self._remove_leftovers(owner)
                stack.callback(self._reserves.remove, owner)
            yield

    def _lock_now(self, owner: str, stack: contextlib.ExitStack) -> None:
        """Hold a lock, unless another run holds it."""
        try:
            stack.enter_context(self._flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB))
        except InUseError:
            # perhaps only by one that removes leftovers, for a moment: not while this is held
            with self._flock(_CLEANING, fcntl.LOCK_SH):
                stack.enter_context(self._flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB))

    @contextlib.contextmanager
    def _flock(self, owner: str, operation: int) -> Iterator[None]:
        """Hold a lock in one of the ways of `flock`.

        Raises:
            InUseError: Somebody else holds it, and `operation` does not wait.
        """
        path = self.root / LOCKS / owner
        with faults(path):
            self._make_folder(path.parent)
            fd = os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        try:
            try:
                fcntl.flock(fd, operation)
            except OSError as fault:
                if fault.errno in {errno.EWOULDBLOCK, errno.EACCES}:
                    raise in_use(owner) from None
                raise StagingError(
                    f"{path} cannot be locked ({fault.strerror}); "
                    "the staging needs a file system with flock"
                ) from fault
            yield
        finally:
            os.close(fd)

    def check_locks(self) -> str:
        """See `Files`: there is nothing to check before a lock is taken."""
        return ""

    def _make_folder(self, path: Path) -> None:
        """Make a folder and what is missing above it, each entry forced to disk.

        So is the entry of one that is there: who made it may have died before it was.
        """
        ours = path != self.root and path.is_relative_to(self.root)
        if path.is_dir() and (path in self._synced or not ours):
            return
        self._make_folder(path.parent)
        try:
            path.mkdir(
                PRIVATE_FOLDER, exist_ok=True
            )  # another thread or process may have made it meanwhile
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None
        _sync_folder(path.parent)
        self._synced.add(path)

    def _remove_leftovers(self, owner: str) -> None:
        """Remove files that killed runs left half written.

        These are the files of this lock's owner and of owners whose lock nobody holds: accounts
        and destinations that are no longer configured never remove theirs.
        """
        leftovers: dict[str, list[Path]] = {}
        tmp = self.root / TMP
        with faults(tmp), contextlib.suppress(FileNotFoundError), os.scandir(tmp) as entries:
            for entry in entries:
                if match := _LEFTOVER.fullmatch(entry.name):
                    leftovers.setdefault(match["owner"], []).append(tmp / entry.name)
        _remove(leftovers.pop(owner, []))
        for other, files in sorted(leftovers.items()):
            # a lock that is held has a live writer; files that cannot be removed may stay
            with (
                contextlib.suppress(InUseError, StagingError),
                self._flock(_CLEANING, fcntl.LOCK_EX | fcntl.LOCK_NB),
                self._flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB),
            ):
                _remove(files)
