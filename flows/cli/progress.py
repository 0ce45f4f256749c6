"""What a command shows of a run, at a terminal or in a log file."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Self

from flows.cli.output import say, warn
from flows.summary import remarks, summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import TaskID

    from tasks.results import StageResult

_SECONDS_BETWEEN_LINES = 5.0
_LABELS = {logging.INFO: "note", logging.WARNING: "warning", logging.ERROR: "error"}


class ProgressDisplay:
    """Shows on stderr how far each step is: bars on a terminal, else a line every five seconds."""

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

    def __exit__(self, *exception: object) -> None:
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


def show(results: Sequence[StageResult], warnings: Sequence[str] = ()) -> None:
    """Print what each step did to stdout, then the other warnings and the remarks to stderr."""
    for result in results:
        say(summary(result))
    sys.stdout.flush()
    for level, text in [*((logging.WARNING, text) for text in warnings), *remarks(results)]:
        warn(f"{_LABELS[level]}: {text}")
    if not results:
        warn("note: nothing to do: no event is staged")
