"""A staging in a file system of pyarrow's: one put is the publication."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tasks.staging.names.file_names import SUFFIX
from tasks.staging.storage.files import NewFile, faults, in_use, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tasks.staging.storage.lease import Lease, Leases

_FEW_FOLDERS = 8
"""Fewer than these are listed one by one, where others are not wanted."""


class RemoteFiles:
    """A file system of pyarrow's: object storage, or anything else a URI of it names.

    Args:
        filesystem: The file system.
        root: The staging in it.
        leases: Keep other processes out; without, locks hold within this process alone.
    """

    _locks: dict[str, threading.Lock] = {}  # noqa: RUF012 - shared by all on purpose
    _held: dict[str, Lease] = {}  # noqa: RUF012 - same
    _FLAT = ("s3", "gcs", "abfs")

    def __init__(self, filesystem: Any, root: str, leases: Leases | None = None) -> None:
        self.filesystem = filesystem
        self.root = root.rstrip("/")
        self.leases = leases

    def __str__(self) -> str:
        return f"{self.filesystem.type_name}://{self.root}"

    def _path(self, path: str) -> str:
        return f"{self.root}/{path}" if self.root else path

    def _infos(self, path: str, *, recursive: bool = False) -> list[Any]:
        from pyarrow.fs import FileSelector

        selector = FileSelector(self._path(path), allow_not_found=True, recursive=recursive)
        with faults(self._path(path)):
            infos: list[Any] = self.filesystem.get_file_info(selector)
        return infos

    def folders(self, path: str) -> list[str]:
        """See `Files`."""
        return sorted(info.base_name for info in self._infos(path) if not info.is_file)

    def names(self, path: str, suffix: str = SUFFIX) -> list[str]:
        """See `Files`."""
        return sorted(
            info.base_name
            for info in self._infos(path)
            if info.is_file and info.base_name.endswith(suffix)
        )

    def names_by_folder(self, path: str, wanted: Callable[[str], bool]) -> dict[str, list[str]]:
        """See `Files`: few folders one by one, else one listing for all."""
        folders = self.folders(path)
        chosen = [folder for folder in folders if wanted(folder)]
        if len(chosen) < min(len(folders), _FEW_FOLDERS):
            return {folder: self.names(f"{path}/{folder}") for folder in chosen}
        found: dict[str, list[str]] = {}
        for info in self._infos(path, recursive=True):
            if info.is_file and info.base_name.endswith(SUFFIX):
                found.setdefault(info.path.rsplit("/", 2)[-2], []).append(info.base_name)
        return {folder: sorted(found[folder]) for folder in sorted(found) if wanted(folder)}

    @contextlib.contextmanager
    def create(self, path: str, owner: str, expected: pa.Buffer | None = None) -> Iterator[NewFile]:
        """See `Files`: filled in memory, then put at once, unless the owner's lease was lost."""
        new_file = NewFile(pa.BufferOutputStream(), content=expected)
        yield new_file
        if not new_file.name:
            return
        if lease := self._held.get(f"{self}/{owner}"):
            lease.ensure()
        with faults(self._path(path)):
            if self.filesystem.type_name not in self._FLAT:
                self.filesystem.create_dir(self._path(path), recursive=True)
            target = self._path(f"{path}/{new_file.name}")
            with self.filesystem.open_output_stream(target) as stream:
                stream.write(new_file.content or new_file.sink.getvalue())

    @contextlib.contextmanager
    def open(self, path: str) -> Iterator[Any]:
        """See `Files`."""
        with (
            reading(self._path(path), path),
            self.filesystem.open_input_file(self._path(path)) as source,
        ):
            yield source

    def remove(self, path: str) -> None:
        """See `Files`."""
        with faults(self._path(path)), contextlib.suppress(FileNotFoundError):
            self.filesystem.delete_file(self._path(path))

    def remove_folder(self, path: str) -> None:
        """See `Files`: object storage has no folders, and an empty one elsewhere does no harm."""

    @contextlib.contextmanager
    def lock(
        self,
        owner: str,
        *,
        wait: bool,
        run_id: str = "",
        stop: threading.Event | None = None,
    ) -> Iterator[None]:
        """See `Files`: within this process, and unless it is waited for, by a lease among all."""
        name = f"{self}/{owner}"
        lock = self._locks.setdefault(name, threading.Lock())
        if not lock.acquire(blocking=wait):
            raise in_use(owner)
        try:
            if self.leases is None or wait:
                yield
                return
            with self.leases.hold(owner, run_id=run_id, stop=stop) as lease:
                self._held[name] = lease
                yield
        finally:
            self._held.pop(name, None)
            lock.release()

    def check_locks(self) -> str:
        """See `Files`: by a probe, which is left there."""
        if self.leases is None:
            return "nothing keeps two runs apart there: see to it that there is never another"
        self.leases.check()
        return f"runs are kept apart by leases (tried with {self.leases.probe})"
