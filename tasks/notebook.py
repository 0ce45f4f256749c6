"""A staging as pandas DataFrames, for notebooks.

    from tasks.notebook import staging

    here = staging("data/sample")
    events = here.events("2026-03-05", "2026-03-06", ["event_type", "source_address"])
    failed = here.deliveries(last=True).query("status == 'failed'")

The trees open in any Parquet reader. What is awkward there by hand is right here: an account is
text, files that another one replaces don't count, and only what is asked for is read, by day and by
column. All times are in UTC.
"""

from __future__ import annotations

import os
import warnings
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import SettingsError
from tasks.redaction import foreign_text
from tasks.reports.status import status
from tasks.staging import day_files
from tasks.staging.deliveries.ledger import Ledger
from tasks.staging.names import file_names
from tasks.staging.normalized_rows import conform
from tasks.staging.schemas import TIME, schema_of
from tasks.staging.storage.files import read_stable
from tasks.staging.store import open_store
from tasks.time_window import Window, isoformat, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from os import PathLike
    from typing import Literal

    import pandas as pd

    from tasks.staging.names.file_names import SpannedFile
    from tasks.staging.store import Store

    Moment = str | date | np.datetime64 | None
    """A bound of a range: ISO 8601 text, or a date or time; UTC where it has no offset."""

CATEGORIES = frozenset(
    {
        *("account", "destination", "name", "run_id", "stage", "status", "transport", "type"),
        *("event_action", "event_category", "event_name", "event_type", "operating_system"),
        *("policy", "rep_device_address", "rep_device_rule_id", "rep_device_type"),
        *("rep_device_vendor", "rep_device_version", "server_group_name", "transport_protocol"),
    }
)
"""Text columns with few different values, which are pandas categories."""

_TIMES = {
    "raw": ["created_at"],
    "normalized": ["created_at"],
    "rejected": ["created_at", "rejected_at"],
    "deliveries": ["created_at"],
}
"""The columns that say when an event was created: the first that is not null."""
_BEGINNING, _END = (datetime(year, 1, 1, tzinfo=UTC) for year in (1970, 9999))


def staging(uri: str | PathLike[str] | None = None) -> Staging:
    """The staging in a folder or at a URI; by default the one that the settings name.

    Args:
        uri: As `HALO_STAGING` is written.

    Raises:
        SettingsError: Nothing is staged there.
    """
    if uri is None:
        from tasks.settings import read_settings

        uri = read_settings().halo_staging
    store = open_store(os.fspath(uri))
    if not any(store.accounts(tree) for tree in ("raw", "normalized", "rejected")):
        raise SettingsError(
            f"nothing is staged in {store}; name the folder or URI of a staging, relative to the "
            "working folder of the notebook"
        )
    return Staging(store)


class Staging:
    """The trees of a staging; made by `staging`.

    `since` and `until` bound the half-open range of `created_at`; all of it by default. `columns`
    names the columns that are wanted; all by default. Rows come by account and day.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def __repr__(self) -> str:
        return f"staging({str(self._store)!r})"

    def raw(
        self, since: Moment = None, until: Moment = None, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Events as Halo sent them, `event` as JSON text, and when they were extracted."""
        return self._frame("raw", _window(since, until), columns)

    def events(
        self, since: Moment = None, until: Moment = None, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Normalized events: the columns of `tasks/plugin/FIELDS.md`, and `account`."""
        return self._frame("normalized", _window(since, until), columns)

    def rejected(self, since: Moment = None, until: Moment = None) -> pd.DataFrame:
        """What could not be normalized, with the reason; without a date, as of `rejected_at`."""
        return self._frame("rejected", _window(since, until), None)

    def deliveries(
        self,
        since: Moment = None,
        until: Moment = None,
        columns: Sequence[str] | None = None,
        *,
        last: bool = False,
    ) -> pd.DataFrame:
        """The ledgers: a row an event, destination and attempt; or of the last attempts alone."""
        window = _window(since, until)
        return self._frame("deliveries", window, columns, last=last)

    def coverage(self) -> pd.DataFrame:
        """The ranges that are covered: `account`, `since`, `until`."""
        return self._ranges("covered")

    def gaps(self) -> pd.DataFrame:
        """The ranges between them that were not read: `account`, `since`, `until`."""
        return self._ranges("gaps")

    def dropped(self) -> pd.DataFrame:
        """The ranges that were covered and that retention dropped: `account`, `since`, `until`."""
        return self._ranges("dropped")

    def _ranges(self, kind: Literal["covered", "gaps", "dropped"]) -> pd.DataFrame:
        answer = status(self._store)
        for problem in answer.problems:
            warnings.warn(foreign_text(problem, None), stacklevel=3)
        rows = [
            {"account": account, "since": window.since, "until": window.until}
            for account, found in answer.accounts.items()
            for window in getattr(found, kind)
        ]
        schema = pa.schema([_field("account"), ("since", TIME), ("until", TIME)])
        frame: pd.DataFrame = pa.Table.from_pylist(rows, schema).to_pandas()
        return frame

    def _frame(
        self,
        tree: str,
        window: Window,
        columns: Sequence[str] | None,
        *,
        last: bool = False,
    ) -> pd.DataFrame:
        """The rows of a tree in a window, with what its folders tell."""
        schema = schema_of(tree)
        folders = ["account", "destination"] if tree == "deliveries" else ["account"]
        wanted = _known(columns, [*folders, *schema.names])
        result = pa.schema([_field(name, schema) for name in wanted])
        needed = {*wanted, *_TIMES[tree], *(["event_id", "attempt"] if last else [])}
        read = [name for name in schema.names if name in needed]

        def tables() -> Iterator[pa.Table]:
            for where, paths in self._files(tree, window):
                parts = [_inside(self._store.read(path, read), tree, window) for path in paths]
                # files of earlier versions of the mapping may lack columns
                rows = pa.concat_tables(parts, promote_options="default")
                rows = _last(rows) if last else rows
                yield conform(_with_folders(rows, where), result)

        found = read_stable(lambda: [result.empty_table(), *tables()])
        table = pa.concat_tables(found).unify_dictionaries()
        del found
        frame: pd.DataFrame = table.to_pandas(
            types_mapper=_integers().get, split_blocks=True, self_destruct=True
        )
        return frame

    def _files(self, tree: str, window: Window) -> Iterator[tuple[dict[str, str], list[str]]]:
        """The files of each day that count and may have rows in a window, and whose they are."""
        store = self._store
        for destination in store.destinations() if tree == "deliveries" else [""]:
            for account in store.accounts(tree, destination):
                where = {"account": account, "destination": destination}
                for day in store.dates(tree, account, destination):
                    if window.overlaps(Window.of_day(day)):
                        folder = store.folder(tree, account, day, destination)
                        names = self._names(tree, account, day, destination, window)
                        if paths := [f"{folder}/{name}" for name in names]:
                            yield where, paths

    def _names(
        self, tree: str, account: str, day: date, destination: str, window: Window
    ) -> list[str]:
        store = self._store
        if tree == "rejected":
            state = day_files.day_of(store, account, day)
            return [file.name for file in (*state.rejected, *state.malformed)]
        files: Sequence[SpannedFile]
        if tree == "raw":
            names = store.files("raw", account, day)
            files = file_names.raw_files(names, file_names.partition(account, day))
        elif tree == "normalized":
            files = day_files.current_files(store, account, day)
        else:
            files, _ = Ledger(store, destination, account, day).files()
        return [file.name for file in files if file.rows and file.window(day).overlaps(window)]


def _window(since: Moment, until: Moment) -> Window:
    """The range that is asked for."""
    first = _BEGINNING if since is None else _time(since, "since")
    end = _END if until is None else _time(until, "until")
    if first >= end:
        raise SettingsError(
            f"since={isoformat(first)} is not before until={isoformat(end)}: "
            "the range is empty or backward; exchange or change them"
        )
    return Window(first, end)


def _time(moment: str | date | np.datetime64, name: str) -> datetime:
    import pandas as pd

    return parse_time(moment if isinstance(moment, str) else pd.Timestamp(moment).isoformat(), name)


def _known(columns: Sequence[str] | None, names: list[str]) -> list[str]:
    """The columns that are wanted, all by default; each must be one that there is."""
    if columns is None:
        return names
    columns = [columns] if isinstance(columns, str) else columns
    if unknown := [foreign_text(name) for name in columns if name not in names]:
        raise SettingsError(f"no column {', '.join(unknown)}; there are {', '.join(names)}")
    return list(dict.fromkeys(columns))


def _field(name: str, schema: pa.Schema | None = None) -> pa.Field:
    """A column of the result: a category where that saves memory."""
    if name in CATEGORIES:
        return pa.field(name, pa.dictionary(pa.int32(), pa.string()))
    return schema.field(name) if schema is not None else pa.field(name, pa.string())


def _integers() -> dict[pa.DataType, Any]:
    """The types of pandas that hold null, too, so that a port does not become a fraction."""
    import pandas as pd

    return {pa.int8(): pd.Int8Dtype(), pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype()}


def _inside(rows: pa.Table, tree: str, window: Window) -> pa.Table:
    """The rows created in a window."""
    created = pc.coalesce(*(rows[name] for name in _TIMES[tree]))
    since, until = (pa.scalar(bound, TIME) for bound in (window.since, window.until))
    return rows.filter(pc.and_(pc.greater_equal(created, since), pc.less(created, until)))


def _last(rows: pa.Table) -> pa.Table:
    """The last attempt of each event."""
    events = rows["event_id"].combine_chunks().dictionary_encode()
    order = np.argsort(rows["attempt"].to_numpy(), kind="stable")
    position = np.empty(len(events.dictionary), np.int64)
    # where an index is repeated numpy keeps the last value: the last attempt's
    position[events.indices.to_numpy()[order]] = order
    return rows.take(pa.array(np.sort(position)))


def _with_folders(rows: pa.Table, folders: dict[str, str]) -> pa.Table:
    """The rows with what the names of their folders tell, a column each."""
    for name, value in folders.items():
        rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
    return rows
