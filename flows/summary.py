"""What the steps of a run did, as text: for a terminal, for a log, for the state of a flow run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tasks.plurals import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.results import StageResult

_SINGULAR = {"batches": "batch", "days": "day", "files": "file", "windows": "window"}


def summary(result: StageResult) -> str:
    """What a step did, as a line."""
    done = [counted(value, _one_of(name), name) for name, value in result.counts().items()]
    if result.held:
        done.append("left to another run")
    if result.interrupted:
        done.append("interrupted")
    return f"{result.DONE} {result.subject}: {', '.join(done) or 'nothing new'}"


def _one_of(name: str) -> str:
    return " ".join(_SINGULAR.get(word, word) for word in name.split())


def remarks(results: Sequence[StageResult]) -> list[tuple[int, str]]:
    """The steps' notes, warnings and problems without repeats, each with its level of `logging`."""
    notes = [(logging.INFO, text) for result in results for text in result.notes]
    warnings = [(logging.WARNING, text) for result in results for text in result.warnings]
    problems = [(logging.ERROR, text) for result in results for text in result.problems]
    return list(dict.fromkeys([*notes, *warnings, *problems]))
