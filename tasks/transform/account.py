"""Transform: every raw event becomes a normalized or a rejected one, file by file.

What is to be done is raw less normalized, by names. The same raw file gives the same rows at
every repeat.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.errors import InUseError, StagingError
from tasks.results import StageResult
from tasks.staging import file_names, normalized
from tasks.staging.locks import hold
from tasks.staging.orphans import describe, drop_orphans
from tasks.staging.rejected import REJECTED_SCHEMA
from tasks.staging.repair import how_to_repair

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
    unknown_types: dict[str, int] = field(default_factory=dict)


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
    done = TransformResult(account)
    try:
        with hold(store, "account", account, run_id=run_id, wait=wait, stop=stop):
            if account == min(store.accounts("raw"), default=""):  # one of them names it for all
                done.problems += store.unexpected_entries("raw")
            days = (normalized.days if window else normalized.unfinished)(store, account)
            work = [
                (day, file, state)
                for day, state in days.items()
                for file in _wanted(store, account, day, state, window)
            ]
            if say_why and not work:
                done.notes.append(
                    f"account {account}: nothing to do: "
                    + ("no event is staged in the range" if window else "every event is normalized")
                )
            for index, (day, file, state) in enumerate(work):
                if stop is not None and stop.is_set():
                    done.interrupted = True
                    break
                previous = state.current.get(file.key)
                _normalize_one(
                    _File(store, account, day, file, previous, device_address, run_id), done
                )
                if progress is not None:
                    progress(index + 1, len(work))
            _drop_orphans(store, account, days, stop, done)
    except InUseError as held:
        done.held = True
        done.notes.append(str(held))
        done.interrupted = stop is not None and stop.is_set()
    except StagingError as fault:
        done.problems.append(f"account {account} cannot be transformed: {fault}")
    if done.rejected:
        done.warnings.append(
            f"account {account}: {done.rejected} events could not be normalized; they are in "
            "rejected/ with the reason"
        )
    return done


@dataclass(frozen=True)
class _File:
    """A raw file to be normalized, and what became of it the last time."""

    store: Store
    account: str
    day: date
    raw: RawFile
    previous: NormalizedFile | None
    device_address: str
    run_id: str

    @property
    def generation(self) -> int:
        return self.previous.generation + 1 if self.previous else 1

    def path(self, stage: str, name: str) -> str:
        return f"{self.store.folder(stage, self.account, self.day)}/{name}"


def _wanted(
    store: Store, account: str, day: date, state: DayFiles, window: Window | None
) -> list[RawFile]:
    """The raw files of a day to be normalized; what an earlier crash left over is removed."""
    for stage, name in state.leftovers:
        store.remove(f"{store.folder(stage, account, day)}/{name}")
    if window is None:
        return state.waiting
    return [file for file in state.raw if file.rows and file.window(day).overlaps(window)]


def _drop_orphans(
    store: Store,
    account: str,
    days: Mapping[date, DayFiles],
    stop: threading.Event | None,
    done: TransformResult,
) -> None:
    """Drop what came of raw files that are gone, and note it."""
    dropped: list[Dropped] = []
    try:
        for day in [day for day, state in days.items() if state.orphans]:
            if stop is not None and stop.is_set():
                done.interrupted = True
                break
            dropped += drop_orphans(store, account, day)
    finally:
        if dropped:
            done.notes.append(describe(account, dropped))


def _normalize_one(file: _File, done: TransformResult) -> None:
    try:
        made = _publish(file)
    except StagingError as fault:
        done.problems.append(f"account {file.account}, {file.day}: {fault}")
        return
    done.files += 1
    done.normalized += made.rows
    done.rejected += made.rejected
    for kind, count in made.unknown_types.items():
        done.unknown_types[kind] = done.unknown_types.get(kind, 0) + count


@dataclass
class _Made:
    """What came of one raw file."""

    rows: int = 0
    rejected: int = 0
    unknown_types: dict[str, int] = field(default_factory=dict)
    ids: list[pa.ChunkedArray] = field(default_factory=list)


def _publish(file: _File) -> _Made:
    """Write the rejected, then the normalized file of a raw file, then remove older ones."""
    from tasks.plugin.fields import NORMALIZED_SCHEMA

    made = _Made()
    with file.store.writer(NORMALIZED_SCHEMA, "normalized", file.account, file.day) as rows:
        # entered last, the rejected file is published first
        with ExitStack() as stack:
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
    for batch in file.store.batches(file.path("raw", file.raw.name), _RAW_COLUMNS):
        result = normalize(pa.Table.from_batches([batch]), file.device_address)
        rows.write(result.rows)
        made.rows += result.rows.num_rows
        for kind, count in unknown_types(result.rows).items():
            made.unknown_types[kind] = made.unknown_types.get(kind, 0) + count
        if file.previous:
            made.ids.append(result.rows["event_id"])
        if result.rejected.num_rows:
            if rejects is None:
                rejects = stack.enter_context(
                    file.store.writer(REJECTED_SCHEMA, "rejected", file.account, file.day)
                )
            rejects.write(_rejected(result.rejected, file.run_id))
            made.rejected += result.rejected.num_rows
    if made.rows + made.rejected != file.raw.rows:
        raise StagingError(
            f"{file.path('raw', file.raw.name)} has {file.raw.rows} events by its name, and "
            f"{made.rows} normalized and {made.rejected} rejected ones came of it: the file was "
            f"altered; {how_to_repair(file.path('raw', file.raw.name))}"
        )
    if rejects is not None:
        rejects.name = file_names.rejected_name(file.raw.key, file.generation, made.rejected)


def _rejected(rejected: pa.Table, run_id: str) -> pa.Table:
    """What the normalizer rejected, in `REJECTED_SCHEMA`."""
    count = rejected.num_rows
    now = pa.scalar(datetime.now(UTC), pa.timestamp("us", tz="UTC"))
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
    the place of one that was delivered and is no longer normalized, and would never be sent.
    """
    if file.previous is None:
        return 0
    import pyarrow.compute as pc

    path = file.path("normalized", file.previous.name)
    try:
        before = file.store.read(path, ["event_id"])["event_id"]
    except StagingError:  # it is damaged, and replaced: none of its events is known to be kept
        return file.previous.lost + file.previous.rows
    ids = pa.chunked_array([chunk for column in made.ids for chunk in column.chunks], pa.string())
    kept = int(pc.sum(pc.is_in(before, value_set=ids)).as_py() or 0)
    return file.previous.lost + len(before) - kept


def _remove_older(file: _File, previous: NormalizedFile) -> None:
    """Remove the generation that was replaced: normalized, then rejected."""
    file.store.remove(file.path("normalized", previous.name))
    names = file.store.files("rejected", file.account, file.day)
    for old in file_names.rejected_files(names, file_names.partition(file.account, file.day)):
        if old.key == file.raw.key and old.generation <= previous.generation:
            file.store.remove(file.path("rejected", old.name))
