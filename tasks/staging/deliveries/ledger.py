"""The ledger: one row an event and attempt, and what it last says of an event.

Names of files say what is delivered where possible; see `tasks.staging.names.segments`.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.errors import StagingError
from tasks.staging.deliveries.last_attempts import LastAttempts, last_of
from tasks.staging.event_masks import span_of
from tasks.staging.names import file_names, ledger_file_names
from tasks.staging.names.compacted_names import highest
from tasks.staging.names.segments import segments_of
from tasks.staging.schemas import DELIVERIES_SCHEMA
from tasks.staging.storage.writer import in_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from tasks.event_filter import EventFilter
    from tasks.staging.names.file_names import NormalizedFile
    from tasks.staging.names.ledger_file_names import AttemptsFile, SettledNote
    from tasks.staging.names.segments import Segment
    from tasks.staging.storage.files import NewFile
    from tasks.staging.store import Store


class LedgerError(StagingError):
    """Attempts cannot be recorded, so that nothing may be sent."""


@contextmanager
def _recording() -> Iterator[None]:
    try:
        yield
    except StagingError as fault:
        raise LedgerError(str(fault)) from fault


@dataclass
class AttemptWriter:
    """Writes the file of an attempt; see `Ledger.attempt`.

    Attributes:
        expected: The rows that are written already.
    """

    _file: NewFile
    _number: int
    expected: pa.Table

    def write(self, rows: pa.Table, delta: int) -> None:
        """Fill it, and give it its name.

        Args:
            rows: `DELIVERIES_SCHEMA`; where it is `expected` itself, nothing is written.
            delta: How many more events are delivered than before.
        """
        if rows is not self.expected:
            self._file.content = in_bytes(rows)
        attempted_at = rows["attempted_at"][0].as_py()
        self._file.name = ledger_file_names.attempts_name(
            attempted_at, span_of(rows["created_at"]), rows.num_rows, delta, self._number
        )


@dataclass(frozen=True)
class Ledger:
    """One destination's ledger of an account and day. A writer holds the destination's lock."""

    store: Store
    destination: str
    account: str
    day: date

    @property
    def folder(self) -> str:
        """Its relative path in the staging."""
        return self.store.folder("deliveries", self.account, self.day, self.destination)

    def names(self) -> list[str]:
        """Its files."""
        return self.store.files("deliveries", self.account, self.day, self.destination)

    def files(
        self, names: Iterable[str] | None = None
    ) -> tuple[list[AttemptsFile], list[SettledNote]]:
        """Its files, by `names` that were listed or just now: attempts in their order, and notes.

        Those that a compacted file replaces are left out.

        Raises:
            StagingError: A name is not one of ours.
        """
        listed = self.names() if names is None else names
        return ledger_file_names.deliveries_files(listed, self._partition)

    @cached_property
    def _number(self) -> int:
        """That of files which are written now: no compaction comes in between under the lock."""
        return highest(self.files()[0])

    @property
    def _partition(self) -> str:
        return file_names.partition(self.account, self.day, self.destination)

    def segments(
        self,
        normalized: Iterable[NormalizedFile],
        deliveries: Iterable[str],
        takes: EventFilter,
    ) -> list[Segment]:
        """The day's segments in their order, from names alone.

        Args:
            normalized: The day's normalized files that count.
            deliveries: Names of the day's ledger files.
            takes: What the destination takes.

        Raises:
            StagingError: A name is not one of ours.
        """
        return segments_of(self.day, normalized, deliveries, takes, self._partition)

    def last_attempts(self, files: Iterable[AttemptsFile], events: pa.Table) -> LastAttempts:
        """What the ledger last says of some events.

        Only those of `files` are opened that reach into the time of the events.

        Args:
            files: The day's ledger files, or those of the events' segments.
            events: `event_id` and `created_at`, each id once.

        Raises:
            FileGone: The ledger was compacted since it was listed.
            StagingError: It cannot be read.
        """
        rows = self._attempts(files, events)
        return LastAttempts.never(events.num_rows) if rows is None else last_of(rows, events)

    def _attempts(self, files: Iterable[AttemptsFile], events: pa.Table) -> pa.Table | None:
        if not events.num_rows:
            return None
        window = span_of(events["created_at"])
        since, until = (
            file_names.clock(window.since, self.day),
            file_names.clock(window.until, self.day),
        )
        columns = ["event_id", "attempt", "status", "error", "attempted_at"]
        tables = [
            self.store.read(f"{self.folder}/{file.name}", columns, within=window)
            for file in files
            if file.overlaps(since, until)
        ]
        return pa.concat_tables(tables) if tables else None

    @contextmanager
    def attempt(self, expected: pa.Table) -> Iterator[AttemptWriter]:
        """The file of an attempt to deliver events, which are to be sent within the context.

        It is in its folder, and on disk, when the context is left without an exception.

        Args:
            expected: Its rows if all goes well, `DELIVERIES_SCHEMA`, at least one. They are written
                now: once the events are delivered, the file only takes its name.

        Raises:
            LedgerError: At the beginning: there is no room for it, and the events must not be sent,
                or every run would send them again without a record. In the end: it cannot be
                written, and what was delivered will be sent again.
        """
        owner, content = f"destination={self.destination}", in_bytes(expected)
        with _recording(), self.store.backend.create(self.folder, owner, content) as file:
            yield AttemptWriter(file, self._number, expected)

    def note_settled(self, segment: Segment, delivered: int) -> None:
        """Note that a segment has nothing left to deliver, where its sums don't show it.

        Args:
            segment: One of the day's, or several that follow each other, joined.
            delivered: How many of its events are delivered.

        Raises:
            StagingError: It cannot be written.
        """
        name = ledger_file_names.settled_name(
            segment.since,
            segment.until,
            segment.rows,
            segment.total,
            segment.ledger_rows,
            segment.takes_from,
            delivered,
            segment.fingerprint,
        )
        self.store.publish(
            DELIVERIES_SCHEMA.empty_table(),
            "deliveries",
            self.account,
            self.day,
            name,
            destination=self.destination,
        )
        for note in self.files()[1]:
            if note.name != name and segment.since <= note.since and note.until <= segment.until:
                self.store.remove(f"{self.folder}/{note.name}")


def ledger_names(store: Store, account: str, day: date) -> dict[str, list[str]]:
    """Names of the files of each ledger that has some of a day, by destination.

    Raises:
        StagingError: They cannot be listed.
    """
    listed = {name: store.files("deliveries", account, day, name) for name in store.destinations()}
    return {destination: names for destination, names in listed.items() if names}


def most_delivered(store: Store, account: str, day: date) -> int:
    """How many events of a day were delivered, to the destination that got the most; by names.

    Raises:
        StagingError: A name is not one of ours.
    """
    ledgers = (Ledger(store, name, account, day) for name in store.destinations())
    return max((sum(file.delta for file in ledger.files()[0]) for ledger in ledgers), default=0)
