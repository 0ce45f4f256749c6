"""Transform: every raw event becomes a normalized or a rejected one, file by file.

What is to be done is raw less normalized, by names. The same raw file gives the same rows at
every repeat.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.errors import InUseError, StagingError
from tasks.plurals import counted
from tasks.results import StageResult
from tasks.staging import day_files
from tasks.staging.locks import hold
from tasks.staging.orphans import describe, drop_orphans
from tasks.staging.unfinished import unfinished
from tasks.transform.processes import mapping
from tasks.transform.raw_file import FileToNormalize, publish

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping
    from datetime import date

    from tasks.staging.day_files import DayFiles
    from tasks.staging.names.file_names import RawFile
    from tasks.staging.orphans import Dropped
    from tasks.staging.store import Store
    from tasks.time_window import Window
    from tasks.transform.conversion import FileResult


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
        stop: Set when the transform is to end early; the files in hand are finished.
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
            days = day_files.days(store, account) if window else unfinished(store, account)
            work = [
                run.file(day, file, state)
                for day, state in days.items()
                for file in run.select(day, state, window)
            ]
            if say_why and not work:
                done.notes.append(
                    f"account {account}: nothing to do: "
                    + ("no event is staged in the range" if window else "every event is normalized")
                )
            with mapping(len(work), sum(file.raw.rows for file in work)) as each:
                for index, result in enumerate(each(run.normalize, work)):
                    run.count(result)
                    if progress is not None and result is not None:
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
        for tree, name in state.leftovers:
            self.store.remove(f"{self.store.folder(tree, self.account, day)}/{name}")
        if window is None:
            return state.waiting
        return [file for file in state.raw if file.rows and file.window(day).overlaps(window)]

    def file(self, day: date, raw: RawFile, state: DayFiles) -> FileToNormalize:
        """A raw file of a day, and what became of it before."""
        return FileToNormalize(
            self.store,
            self.account,
            day,
            self.device_address,
            self.run_id,
            raw,
            state.current.get(raw.key),
            state.dropped,
        )

    def normalize(self, file: FileToNormalize) -> FileResult | str | None:
        """Normalize a raw file, or say why it cannot be; None where the run is to end.

        May be called in several threads. A file that cannot be normalized stops no other.
        """
        if self.stop is not None and self.stop.is_set():
            return None
        try:
            return publish(file)
        except StagingError as fault:
            return f"account {self.account}, {file.day}: {fault}"

    def count(self, result: FileResult | str | None) -> None:
        """Count what came of a raw file."""
        if result is None:
            self.done.interrupted = True
        elif isinstance(result, str):
            self.done.problems.append(result)
        else:
            self.done.files += 1
            self.done.normalized += result.normalized
            self.done.rejected += result.rejected
            self.done.unknown_types += result.unknown_types
            self.done.warnings += [f"account {self.account}: {text}" for text in result.warnings]

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
