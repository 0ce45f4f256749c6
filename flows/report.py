"""What a person at a terminal, or a log file, is told of a run."""

from __future__ import annotations

import dataclasses
import sys
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from rich.progress import TaskID

    from flows.runner import StageResult

_NOT_COUNTS = {"subject", "problems", "notes", "interrupted"}
_SECONDS_BETWEEN_LINES = 5.0


class ProgressDisplay:
    """Shows how far each step is: bars on a terminal, else a line now and then, on stderr."""

    def __init__(self) -> None:
        self._steps: dict[tuple[str, str], TaskID] = {}
        self._last_line: dict[tuple[str, str], float] = {}
        self._bars = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

            self._bars = Progress(
                "{task.description}",
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars:
            self._bars.stop()

    def __call__(self, stage: str, subject: str, done: int, total: int) -> None:
        """Show that a step has `done` of `total` pieces; see `flows.work.Progress`."""
        step = (stage, subject)
        if self._bars:
            if step not in self._steps:
                self._steps[step] = self._bars.add_task(f"{stage} {subject}")
            self._bars.update(self._steps[step], completed=done, total=total)
            return
        now = time.monotonic()
        if now - self._last_line.setdefault(step, now) >= _SECONDS_BETWEEN_LINES:
            self._last_line[step] = now
            print(f"{stage} {subject}: {done} of {total}", file=sys.stderr)


def counts(result: StageResult) -> dict[str, int]:
    """A result's counts by name; those that are zero only where its class says `SHOW_ZEROS`."""
    if not dataclasses.is_dataclass(result):
        raise TypeError(f"{type(result).__name__} is no stage result")
    found = {
        field.name.replace("_", " "): value
        for field in dataclasses.fields(result)
        if field.name not in _NOT_COUNTS and isinstance(value := getattr(result, field.name), int)
    }
    if getattr(result, "SHOW_ZEROS", False) and any(found.values()):
        return found
    return {name: value for name, value in found.items() if value}


def summary(results: Sequence[StageResult]) -> list[str]:
    """A line a step: what it counted."""
    lines = []
    for result in results:
        done = ", ".join(f"{value:,} {name}" for name, value in counts(result).items())
        lines.append(f"{type(result).__name__.lower()} {result.subject}: {done or 'nothing new'}")
    return lines


def show(results: Sequence[StageResult]) -> None:
    """Print what each step counted to stdout, then notes and problems to stderr."""
    for line in summary(results):
        print(line)
    sys.stdout.flush()
    if not results:
        print("note: nothing to do: no event is staged", file=sys.stderr)
    for result in results:
        for note in result.notes:
            print(f"note: {note}", file=sys.stderr)
    for result in results:
        for problem in result.problems:
            print(f"error: {problem}", file=sys.stderr)
