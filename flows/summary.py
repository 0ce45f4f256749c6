"""What the steps of a run did, as text: for a terminal, for a log, for the state of a flow run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.results import StageResult


def summary(result: StageResult) -> str:
    """What a step did, as a line."""
    done = [f"{value:,} {name}" for name, value in result.counts().items()]
    if result.held:
        done.append("left to another run")
    if result.interrupted:
        done.append("interrupted")
    return f"{result.DONE} {result.subject}: {', '.join(done) or 'nothing new'}"


def remarks(results: Sequence[StageResult]) -> list[tuple[int, str]]:
    """The steps' notes, warnings and problems without repeats, each with its level of `logging`."""
    notes = [(logging.INFO, text) for result in results for text in result.notes]
    warnings = [(logging.WARNING, text) for result in results for text in result.warnings]
    problems = [(logging.ERROR, text) for result in results for text in result.problems]
    return list(dict.fromkeys([*notes, *warnings, *problems]))
