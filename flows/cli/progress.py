"""What a person at a terminal, or a log file, is told of a run."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Self

from flows.cli.output import say, warn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from rich.progress import TaskID

    from tasks.results import StageResult

_SECONDS_BETWEEN_LINES = 5.0
_LABELS = {logging.INFO: "note", logging.WARNING: "warning", logging.ERROR: "error"}


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
        """Show that a step has `done` of `total` pieces; see `flows.context.Progress`."""
        step = (stage, subject)
        if self._bars:
            if step not in self._steps:
                self._steps[step] = self._bars.add_task(f"{stage} {subject}")
            self._bars.update(self._steps[step], completed=done, total=total)
            return
        now = time.monotonic()
        if now - self._last_line.setdefault(step, now) >= _SECONDS_BETWEEN_LINES:
            self._last_line[step] = now
            warn(f"{stage} {subject}: {done} of {total}")


def summary(result: StageResult) -> str:
    """What a step did, as a line."""
    done = [f"{value:,} {name}" for name, value in result.counts().items()]
    if result.held:
        done.append("left to another run")
    if result.interrupted:
        done.append("interrupted")
    return f"{result.DONE} {result.subject}: {', '.join(done) or 'nothing new'}"


def remarks(results: Sequence[StageResult]) -> list[tuple[int, str]]:
    """The steps' notes, warnings and problems, each with its level of `logging`, once."""
    notes = [(logging.INFO, text) for result in results for text in result.notes]
    warnings = [(logging.WARNING, text) for result in results for text in result.warnings]
    problems = [(logging.ERROR, text) for result in results for text in result.problems]
    return list(dict.fromkeys([*notes, *warnings, *problems]))


def show(results: Sequence[StageResult], warnings: Sequence[str] = ()) -> None:
    """Print what each step counted to stdout, then remarks to stderr, and other warnings."""
    for result in results:
        say(summary(result))
    sys.stdout.flush()
    for level, text in [*((logging.WARNING, text) for text in warnings), *remarks(results)]:
        warn(f"{_LABELS[level]}: {text}")
    if not results:
        warn("note: nothing to do: no event is staged")
