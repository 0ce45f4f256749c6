"""One staging: four trees of Parquet, listed by names, written file by file.

    <staging>/raw/account=<account>/date=<YYYY-MM-DD>/*.parquet
    <staging>/normalized/account=<account>/date=<YYYY-MM-DD>/*.parquet
    <staging>/rejected/account=<account>/date=<YYYY-MM-DD>/*.parquet
    <staging>/deliveries/destination=<name>/account=<account>/date=<YYYY-MM-DD>/*.parquet

A file is complete and on disk once it has its final name, and never changes afterwards. What
the names mean is `tasks.staging.names.file_names`'s.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

import pyarrow as pa

from tasks.errors import SettingsError, StagingError
from tasks.redaction import foreign_text, redact_address
from tasks.staging.day_folders import day_of_folder, every_day, unexpected_folder
from tasks.staging.names.file_names import TREES
from tasks.staging.schemas import required, what_is_foreign
from tasks.staging.storage.local_files import LocalFiles
from tasks.staging.storage.reader import read_batches, read_table
from tasks.staging.storage.remote_files import RemoteFiles
from tasks.staging.storage.repair import how_to_repair
from tasks.staging.storage.writer import ROW_GROUP, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from datetime import date

    from tasks.staging.storage.files import Files, NewFile
    from tasks.time_window import Window

_NAME = re.compile(r"[A-Za-z0-9_-]{1,200}")
"""Names of accounts and destinations, which reach logs and pages as they are."""


@dataclass(frozen=True)
class Store:
    """One staging. Cheap to make, picklable, safe to use from several threads."""

    backend: Files

    def __str__(self) -> str:
        return str(self.backend)

    @property
    def root(self) -> Path | None:
        """Its folder; None on object storage."""
        return self.backend.root if isinstance(self.backend, LocalFiles) else None

    @staticmethod
    def folder(
        tree: str, account: str | None = None, day: date | None = None, destination: str = ""
    ) -> str:
        """The relative path of a tree's folder, of all it has or of an account and day."""
        if tree not in TREES or (tree == "deliveries") != bool(destination):
            raise ValueError(f"no such tree: {tree!r} of destination {destination!r}")
        parts = [tree, f"destination={destination}"] if destination else [tree]
        if account is not None:
            parts.append(f"account={account}")
        if day is not None:
            parts.append(f"date={day.isoformat()}")
        return "/".join(parts)

    def destinations(self) -> list[str]:
        """Names of the destinations that have a ledger."""
        return self._named("deliveries", "destination")[0]

    def accounts(self, tree: str, destination: str = "") -> list[str]:
        """Accounts that a tree knows."""
        return self._named(self.folder(tree, destination=destination), "account")[0]

    def sealed_accounts(self) -> list[str]:
        """Accounts that have seals."""
        return self._named("seals", "account")[0]

    def unexpected_entries(self, tree: str = "", destination: str = "") -> list[str]:
        """The folders beside a tree's accounts that are not ours: a sentence each, with a remedy.

        They belong to no account, so no account fails because of them. Without `tree`, the whole
        staging is searched, the folders beside destinations included.
        """
        if tree:
            return self._named(self.folder(tree, destination=destination), "account")[1]
        found = [text for name in TREES[:3] for text in self.unexpected_entries(name)]
        destinations, beside = self._named("deliveries", "destination")
        inside = [
            text for name in destinations for text in self.unexpected_entries("deliveries", name)
        ]
        return [*found, *beside, *inside, *self._named("seals", "account")[1]]

    def _named(self, parent: str, key: str) -> tuple[list[str], list[str]]:
        """The values of a folder's `key=value` folders, and a sentence about each other folder."""
        values, unexpected_entries = [], []
        for folder in self.backend.folders(parent):
            name, _, value = folder.partition("=")
            if name == key and _NAME.fullmatch(value):
                values.append(value)
            else:
                unexpected_entries.append(unexpected_folder(parent, folder, f"{key}=…"))
        return values, unexpected_entries

    def dates(self, tree: str, account: str, destination: str = "") -> list[date]:
        """Days of which a tree has a folder, oldest first."""
        parent = self.folder(tree, account, destination=destination)
        return [day_of_folder(parent, folder) for folder in self.backend.folders(parent)]

    def files(
        self, tree: str, account: str, day: date | None = None, destination: str = ""
    ) -> list[str]:
        """Names of a day's files, sorted; of every day's without `day`. No file is opened."""
        if day is None:
            days = self.names_by_day(tree, account, destination).values()
            return [name for names in days for name in names]
        return self.backend.names(self.folder(tree, account, day, destination))

    def names_by_day(
        self,
        tree: str,
        account: str,
        destination: str = "",
        *,
        wanted: Callable[[date], bool] = every_day,
    ) -> dict[date, list[str]]:
        """Names of every day's files, or of the days that are wanted; the oldest day first.

        No file is opened.
        """
        parent = self.folder(tree, account, destination=destination)
        found = self.backend.names_by_folder(
            parent, lambda folder: wanted(day_of_folder(parent, folder))
        )
        return {day_of_folder(parent, folder): names for folder, names in found.items()}

    def publish(
        self,
        table: pa.Table,
        tree: str,
        account: str,
        day: date,
        name: str,
        *,
        destination: str = "",
    ) -> None:
        """Write a table under its final name, complete and on disk, or not at all.

        Raises:
            StagingError: It cannot be written; the message says where and why.
        """
        with self.writer(table.schema, tree, account, day, destination=destination) as writer:
            writer.write(table)
            writer.name = name

    @contextmanager
    def writer(
        self,
        schema: pa.Schema,
        tree: str,
        account: str,
        day: date,
        *,
        destination: str = "",
        compact: bool = False,
    ) -> Iterator[Writer]:
        """A file to be filled piece by piece, published at the end under the `name` it is given.

        Nothing is published where the body raises. `compact`: see `Writer`.
        """
        with self.new_file(tree, account, day, destination=destination) as file:
            writer = Writer(file, schema, compact=compact)
            try:
                yield writer
            except BaseException:
                writer.discard()
                raise
            writer.close()

    def new_file(
        self, tree: str, account: str, day: date, *, destination: str = ""
    ) -> AbstractContextManager[NewFile]:
        """A file to be filled with bytes, published at the end under the `name` it is given.

        Raises:
            StagingError: It cannot be written; the message says where and why.
        """
        owner = f"destination={destination}" if destination else f"account={account}"
        return self.backend.create(self.folder(tree, account, day, destination), owner)

    def read(
        self, path: str, columns: list[str] | None = None, *, within: Window | None = None
    ) -> pa.Table:
        """The rows of a file, by its path in the staging.

        With `within`, row groups are left out that have nothing created in that window; others
        are read whole.

        Raises:
            FileGone: Another run has replaced it since it was listed.
            StagingError: It cannot be read.
        """
        with self._open(path) as file:
            table = read_table(file, columns, within)
            self._require_keys(path, table)
            return table

    def batches(
        self, path: str, columns: list[str] | None = None, rows: int = ROW_GROUP
    ) -> Iterator[pa.Table]:
        """The rows of a file, at most `rows` at a time, and never of more than one row group.

        Raises:
            FileGone: Another run has replaced it since it was listed.
            StagingError: It cannot be read.
        """
        with self._open(path) as file:
            for table in read_batches(file, columns, rows):
                self._require_keys(path, table)
                yield table

    @contextmanager
    def _open(self, path: str) -> Iterator[Any]:
        """A Parquet file of ours."""
        import pyarrow.parquet as pq

        with self.backend.open(path) as source:
            file = pq.ParquetFile(source)
            if fault := what_is_foreign(path, file.schema_arrow):
                raise self._foreign(path, fault)
            yield file

    def _require_keys(self, path: str, rows: pa.Table) -> None:
        for name in required(path):
            if name in rows.column_names and rows[name].null_count:
                raise self._foreign(path, f"a row has no {name}")

    def _foreign(self, path: str, fault: str) -> StagingError:
        tree = path.partition("/")[0]
        return StagingError(f"{self}/{path} is no {tree} file: {fault}; {how_to_repair(path)}")

    def remove(self, path: str) -> None:
        """Remove a file, by its path in the staging; one that is not there is fine."""
        self.backend.remove(path)

    def known_accounts(self) -> list[str]:
        """Every account that any of the trees knows."""
        names = {name for tree in TREES[:3] for name in self.accounts(tree)}
        for destination in self.destinations():
            names.update(self.accounts("deliveries", destination))
        return sorted(names)


def open_store(uri: str, locks: Literal["auto", "none"] = "auto") -> Store:
    """The staging at a path of this machine or a URI that pyarrow's file systems open.

    Nothing is touched; the folder is made when the first file is written.

    Args:
        uri: HALO_STAGING.
        locks: HALO_STAGING_LOCKS: by leases on object storage, or none there.

    Raises:
        SettingsError: No file system of pyarrow's opens the URI.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return Store(LocalFiles(Path(uri).absolute()))
    if scheme == "file":
        return Store(LocalFiles(Path(unquote(rest))))
    from pyarrow.fs import FileSystem

    try:
        filesystem, path = FileSystem.from_uri(uri)
    except (pa.ArrowException, ValueError):  # its message repeats the URI, with the key in it
        raise SettingsError(
            f"HALO_STAGING: '{redact_address(uri)}' cannot be opened; write a folder, or a URI "
            "such as s3://ID:SECRET@bucket/prefix?region=…, with what is special in its parts "
            "percent-encoded"
        ) from None
    except OSError as fault:
        raise SettingsError(
            f"HALO_STAGING: '{redact_address(uri)}' cannot be opened ({foreign_text(fault)}); "
            "check its host, its region and the network"
        ) from None
    if locks == "none" or filesystem.type_name == "mock":  # the memory of this process
        return Store(RemoteFiles(filesystem, path))
    from tasks.staging.storage.conditional_objects import ConditionalObjects
    from tasks.staging.storage.lease import Leases

    return Store(RemoteFiles(filesystem, path, Leases(ConditionalObjects(filesystem, path))))
