"""Transform: every raw event becomes a normalized or a rejected one, file by file.

What is to be done is raw less normalized, by names. The same raw file gives the same rows at
every repeat.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.errors import InUseError, StagingError
from tasks.plurals import counted
from tasks.results import StageResult
from tasks.staging import file_names, normalized
from tasks.staging.locks import hold
from tasks.staging.orphans import describe, drop_orphans
from tasks.staging.rejected_file_names import rejected_files, rejected_name
from tasks.staging.repair import how_to_repair
from tasks.staging.schemas import REJECTED_SCHEMA, TIME

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping
    from datetime import date

    from tasks.staging.file_names import NormalizedFile, RawFile
    from tasks.staging.normalized import DayFiles
    from tasks.staging.orphans import Dropped
    from tasks.staging.store import Store
    from tasks.staging.writer import Writer
    from tasks.time_window import Window

_RAW_COLUMNS = ["event_id", "created_at", "type", "name", "critical", "event"]


@dataclass
class TransformResult(StageResult):
    """What a transform of one account did.

    Attributes:
        files: Raw files that were normalized.
        normalized: Events in their normalized files.
        rejected: Events in their rejected files, of stage transform.
        unknown_types: Events of each type that the catalogue does not know.
    """

    DONE = "transformed"

    files: int = 0
    normalized: int = 0
    rejected: int = 0
    unknown_types: Counter[str] = field(default_factory=Counter)


def transform_account(
    store: Store,
    account: str,
    *,
    device_address: str,
    run_id: str,
    window: Window | None = None,
    stop: threading.Event | None = None,
    progress: Callable[[int, int], None] | None = None,
    wait: float = 0.0,
    say_why: bool = False,
) -> TransformResult:
    """Normalize every raw file of an account that has no normalized one.

    Args:
        store: The staging.
        account: Whose events.
        device_address: HALO_DEVICE_ADDRESS, the CEF `dvc`.
        run_id: Kept with what is rejected.
        window: Normalize anew every raw file that reaches into this range, and nothing else.
        stop: Set when the transform is to end early; the file in hand is finished.
        progress: Told how many of how many files are done.
        wait: Seconds to wait for another run that holds the account.
        say_why: Whether to note why there was nothing to do.

    Returns:
        What was done. Expected faults are among its problems; an account that another run holds is
        left to that run, with a note.
    """
    run = _AccountTransform(store, account, device_address, run_id, stop)
    done = run.done
    try:
        with hold(store, "account", account, run_id=run_id, wait=wait, stop=stop):
            if account == min(store.accounts("raw"), default=""):  # one of them names it for all
                done.problems += store.unexpected_entries("raw")
            days = (normalized.days if window else normalized.unfinished)(store, account)
            work = [
                _File(run, day, file, state.current.get(file.key), state.dropped)
                for day, state in days.items()
                for file in run.select(day, state, window)
            ]
            if say_why and not work:
                done.notes.append(
                    f"account {account}: nothing to do: "
                    + ("no event is staged in the range" if window else "every event is normalized")
                )
            for index, file in enumerate(work):
                if run.stopped():
                    break
                run.normalize(file)
                if progress is not None:
                    progress(index + 1, len(work))
            run.drop_orphans(days)
    except InUseError as held:
        done.held, done.held_by = True, held.run
        done.notes.append(str(held))
        done.interrupted = stop is not None and stop.is_set()
    except StagingError as fault:
        done.problems.append(f"account {account} cannot be transformed: {fault}")
    if done.rejected:
        done.warnings.append(
            f"account {account}: {counted(done.rejected, 'event')} could not be normalized: in "
            "rejected/ with the reason"
        )
    return done


@dataclass
class _AccountTransform:
    """A transform of one account; `done` is what it did so far."""

    store: Store
    account: str
    device_address: str
    run_id: str
    stop: threading.Event | None

    def __post_init__(self) -> None:
        self.done = TransformResult(self.account)

    def stopped(self) -> bool:
        """Whether the run was asked to end."""
        self.done.interrupted |= self.stop is not None and self.stop.is_set()
        return self.done.interrupted

    def select(self, day: date, state: DayFiles, window: Window | None) -> list[RawFile]:
        """The raw files of a day to be normalized; what an earlier crash left over is removed."""
        for stage, name in state.leftovers:
            self.store.remove(f"{self.store.folder(stage, self.account, day)}/{name}")
        if window is None:
            return state.waiting
        return [file for file in state.raw if file.rows and file.window(day).overlaps(window)]

    def normalize(self, file: _File) -> None:
        """Normalize a raw file; one that cannot be normalized stops no other."""
        try:
            made = _publish(file)
        except StagingError as fault:
            self.done.problems.append(f"account {self.account}, {file.day}: {fault}")
            return
        self.done.files += 1
        self.done.normalized += made.rows
        self.done.rejected += made.rejected
        self.done.unknown_types += made.unknown_types

    def drop_orphans(self, days: Mapping[date, DayFiles]) -> None:
        """Drop what came of raw files that are gone, and note it."""
        dropped: list[Dropped] = []
        try:
            for day in [day for day, state in days.items() if state.orphans]:
                if self.stopped():
                    break
                dropped += drop_orphans(self.store, self.account, day)
        finally:
            if dropped:
                self.done.notes.append(describe(self.account, dropped))


@dataclass(frozen=True)
class _File:
    """A raw file to be normalized, what became of it before, and whether its day was dropped."""

    run: _AccountTransform
    day: date
    raw: RawFile
    previous: NormalizedFile | None
    dropped: bool

    @property
    def generation(self) -> int:
        return self.previous.generation + 1 if self.previous else 1

    def path(self, stage: str, name: str) -> str:
        return f"{self.run.store.folder(stage, self.run.account, self.day)}/{name}"


@dataclass
class _Made:
    """What came of one raw file."""

    rows: int = 0
    rejected: int = 0
    unknown_types: Counter[str] = field(default_factory=Counter)
    ids: list[pa.ChunkedArray] = field(default_factory=list)


def _publish(file: _File) -> _Made:
    """Write the rejected, then the normalized file of a raw file, then remove older ones."""
    from tasks.plugin.fields import NORMALIZED_SCHEMA

    made = _Made()
    with file.run.store.writer(NORMALIZED_SCHEMA, "normalized", file.run.account, file.day) as rows:
        with ExitStack() as stack:  # entered last, the rejected file is published first
            _fill(file, rows, made, stack)
        rows.name = file_names.normalized_name(
            file.raw.key,
            file.generation,
            made.rows,
            lost=_lost(file, made),
            unknown=bool(made.unknown_types),
        )
    if file.previous:
        _remove_older(file, file.previous)
    return made


def _fill(file: _File, rows: Writer, made: _Made, stack: ExitStack) -> None:
    """Normalize a raw file, some rows at a time, into `rows` and a rejected file if need be."""
    from tasks.plugin.catalogue import unknown_types
    from tasks.plugin.normalize import normalize

    rejects: Writer | None = None
    for batch in file.run.store.batches(file.path("raw", file.raw.name), _RAW_COLUMNS):
        result = normalize(pa.Table.from_batches([batch]), file.run.device_address)
        rows.write(result.rows)
        made.rows += result.rows.num_rows
        made.unknown_types.update(unknown_types(result.rows))
        if file.previous:
            made.ids.append(result.rows["event_id"])
        if result.rejected.num_rows:
            if rejects is None:
                rejects = stack.enter_context(
                    file.run.store.writer(REJECTED_SCHEMA, "rejected", file.run.account, file.day)
                )
            rejects.write(_rejected(result.rejected, file.run.run_id))
            made.rejected += result.rejected.num_rows
    if made.rows + made.rejected != file.raw.rows:
        raise StagingError(
            f"{file.path('raw', file.raw.name)} has {file.raw.rows} events by its name, and "
            f"{made.rows} normalized and {made.rejected} rejected ones came of it: the file was "
            f"altered; {how_to_repair(file.path('raw', file.raw.name))}"
        )
    if rejects is not None:
        rejects.name = rejected_name(file.raw.key, file.generation, made.rejected)


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


def _lost(file: _File, made: _Made) -> int:
    """Events that were normalized once and are rejected now, over all generations.

    Counts tell which days are settled. Without these events in the count, a later event would take
    the place of one that was delivered and is no longer there, and would never be sent.
    """
    import pyarrow.compute as pc

    from tasks.staging.ledger import most_delivered

    if file.previous is None:
        return most_delivered(file.run.store, file.run.account, file.day) if file.dropped else 0
    path = file.path("normalized", file.previous.name)
    try:
        before = file.run.store.read(path, ["event_id"])["event_id"]
    except StagingError:  # it is damaged, and replaced: none of its events is known to be kept
        return file.previous.lost + file.previous.rows
    ids = pa.chunked_array([chunk for column in made.ids for chunk in column.chunks], pa.string())
    kept = int(pc.sum(pc.is_in(before, value_set=ids)).as_py() or 0)
    return file.previous.lost + len(before) - kept


def _remove_older(file: _File, previous: NormalizedFile) -> None:
    """Remove the generation that was replaced: normalized, then rejected."""
    file.run.store.remove(file.path("normalized", previous.name))
    names = file.run.store.files("rejected", file.run.account, file.day)
    for old in rejected_files(names, file_names.partition(file.run.account, file.day)):
        if old.key == file.raw.key and old.generation <= previous.generation:
            file.run.store.remove(file.path("rejected", old.name))
