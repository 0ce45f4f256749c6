"""Writing compacted files: what a day or a ledger has, in order of creation, in one file."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tasks.maintain.merge import Source, merged
from tasks.staging.names import file_names, ledger_file_names, rejected_file_names
from tasks.staging.names.compacted_names import highest
from tasks.staging.normalized_rows import ANEW_KEY, conform
from tasks.staging.schemas import schema_of
from tasks.time_window import MICROSECOND, Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    import pyarrow as pa

    from tasks.maintain.compaction_plan import DayPlan
    from tasks.staging.deliveries.ledger import Ledger
    from tasks.staging.names.file_names import NormalizedFile, RawFile
    from tasks.staging.names.ledger_file_names import AttemptsFile, SettledNote
    from tasks.staging.names.rejected_file_names import RejectedFile
    from tasks.staging.storage.writer import Writer
    from tasks.staging.store import Store

_EVENT_KEY = ("event_id",)
ATTEMPT_KEY = ("event_id", "attempt", "attempted_at")
"""The columns that tell an attempt from all others."""


def merge_day(store: Store, account: str, plan: DayPlan) -> set[str]:
    """Merge the files of a day, and return the names of those that are replaced.

    The account is locked.

    Raises:
        StagingError: A file cannot be read, is not as its name says, or cannot be written.
    """
    replaced: set[str] = set()
    if plan.of_malformed:
        _merge_malformed(store, account, plan)
        replaced |= {file.name for file in plan.malformed}
    if plan.of_events:
        _merge_events(store, account, plan)
        replaced |= {file.name for file in plan.raw}
        replaced |= {file.name for file in plan.normalized}
        replaced |= {file.name for file in plan.rejected}
    return replaced


def _merge_events(store: Store, account: str, plan: DayPlan) -> None:
    """Merge what is raw, normalized and rejected, and publish it in the opposite order."""
    events = sum(file.rows for file in plan.raw)
    name = file_names.raw_name(plan.window, events, number=plan.number, compacted=True)
    key = name.removesuffix(file_names.SUFFIX)
    with ExitStack() as stack:

        def merge(tree: str, files: Sequence[RawFile | NormalizedFile | RejectedFile]) -> Writer:
            bare = schema_of(tree).remove_metadata()  # the files say what version they are of
            writer = stack.enter_context(store.writer(bare, tree, account, plan.day, compact=True))
            folder = store.folder(tree, account, plan.day)
            sources = [
                Source(f"{folder}/{file.name}", _microseconds(file.since, plan.day), file.rows)
                for file in files
                if file.rows
            ]
            reader = _Reader(store, schema_of(tree))
            for table in merged(sources, reader.read, _EVENT_KEY):
                writer.write(table)
            writer.describe(reader.metadata())
            return writer

        # entered last, the rejected file is published first, and raw, which makes the change, last
        raw = merge("raw", plan.raw)
        rows = merge("normalized", plan.normalized)
        if any(file.generation > 1 for file in plan.normalized):
            rows.describe({ANEW_KEY: "yes"})
        if any(file.rows for file in plan.rejected):
            rejects = merge("rejected", plan.rejected)
            rejects.name = rejected_file_names.rejected_name(key, 1, rejects.rows)
        rows.name = file_names.normalized_name(
            key,
            1,
            rows.rows,
            lost=sum(file.lost for file in plan.normalized),
            unknown=any(file.unknown for file in plan.normalized),
        )
        raw.name = name


def _merge_malformed(store: Store, account: str, plan: DayPlan) -> None:
    """Merge what is rejected of stage extract, one file after the other: it may have no date."""
    folder = store.folder("rejected", account, plan.day)
    schema = schema_of("rejected")
    with store.writer(schema, "rejected", account, plan.day, compact=True) as writer:
        for file in plan.malformed:
            for table in _Reader(store, schema).read(f"{folder}/{file.name}"):
                writer.write(table)
        writer.name = rejected_file_names.extract_name(
            writer.rows, 1 + highest(plan.malformed), compacted=True
        )


def merge_ledger(
    ledger: Ledger, attempts: list[AttemptsFile], notes: list[SettledNote]
) -> set[str]:
    """Merge the files of a ledger, and return their names. The destination is locked.

    Notes that were written for these files are void then, and removed at once: none is ever opened.

    Raises:
        StagingError: A file cannot be read, is not as its name says, or cannot be written.
    """
    schema = schema_of("deliveries")
    window = Window(
        file_names.moment(min(file.since for file in attempts), ledger.day),
        file_names.moment(max(file.until for file in attempts), ledger.day),
    )
    sources = [
        Source(
            f"{ledger.folder}/{file.name}",
            _microseconds(file.since, ledger.day),
            file.rows,
            in_order=file.compacted,  # events that failed may have been sent in another order
        )
        for file in attempts
    ]
    with ledger.store.writer(
        schema,
        "deliveries",
        ledger.account,
        ledger.day,
        destination=ledger.destination,
        compact=True,
    ) as writer:
        for table in merged(sources, _Reader(ledger.store, schema).read, ATTEMPT_KEY):
            writer.write(table)
        writer.name = ledger_file_names.attempts_name(
            max(file.attempted_at for file in attempts),
            window,
            writer.rows,
            sum(file.delta for file in attempts),
            1 + highest(attempts),
            compacted=True,
        )
    for note in notes:
        if note.rows:
            ledger.store.remove(f"{ledger.folder}/{note.name}")
    return {file.name for file in attempts}


def _microseconds(clock: str, day: date) -> int:
    """A clock text of a day in microseconds since 1970."""
    since = file_names.moment(clock, day) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // MICROSECOND


class _Reader:
    """Reads files of a tree in its schema, and keeps in mind what their metadata say."""

    def __init__(self, store: Store, schema: pa.Schema) -> None:
        self._store = store
        self._schema = schema
        self._found: dict[str, set[str]] = {}

    def read(self, path: str, rows: int = 16_384) -> Iterator[pa.Table]:
        """The rows of a file, at most so many at a time; see `Store.batches`."""
        for table in self._store.batches(path, rows=rows):
            told = table.schema.metadata or {}
            for key in {*(self._schema.metadata or {}), *({ANEW_KEY.encode()} & told.keys())}:
                value = told.get(key, b"unknown")
                self._found.setdefault(key.decode(), set()).add(value.decode(errors="replace"))
            yield conform(table, self._schema)

    def metadata(self) -> dict[str, str]:
        """What the files say of themselves, such as their mappings' versions."""
        return {key: ", ".join(sorted(values)) for key, values in self._found.items()}
