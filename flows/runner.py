"""Who runs the steps of a pipeline: here, the command's own threads.

A pipeline is written once against `Runner`; `flows.prefect_runner` is the other one.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_THREADS = 16


class StageResult(Protocol):
    """What a step says when it has ended; a plain dataclass with its counts beside these.

    Attributes:
        subject: The account or destination.
        problems: What failed or stays pending: a sentence each, with who, how many, what to do.
        notes: What is worth knowing and no failure.
        interrupted: Whether it ended early because it was asked to.
    """

    subject: str
    problems: list[str]
    notes: list[str]
    interrupted: bool


@dataclass(frozen=True)
class Step:
    """A named function of one subject: an account or a destination."""

    name: str
    run: Callable[[str], StageResult]


class Runner(Protocol):
    """Runs steps at the same time, each after those it is to wait for."""

    def submit(self, step: Step, subject: str, after: Sequence[Any] = ()) -> Any:
        """Start a step once all of `after` have ended, well or not; returns what stands for it."""

    def results(self, submitted: Sequence[Any]) -> list[StageResult]:
        """Wait for these steps and return what they said, in order.

        Raises:
            Exception: What a step raised; a step reports expected faults and raises only bugs.
        """


class ThreadRunner:
    """Runs the steps in threads of this process, with no server and without Prefect."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="step")

    def submit(
        self, step: Step, subject: str, after: Sequence[Future[StageResult]] = ()
    ) -> Future[StageResult]:
        """Start a step in a thread; see `Runner`.

        The pool starts steps in the order of their submission, so one that waits always waits
        for steps that have a thread already.
        """

        def run() -> StageResult:
            wait(after)
            return step.run(subject)

        return self._pool.submit(run)

    def results(self, submitted: Sequence[Future[StageResult]]) -> list[StageResult]:
        """Wait for steps; see `Runner`."""
        wait(submitted)
        return [future.result() for future in submitted]
