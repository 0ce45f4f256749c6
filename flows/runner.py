"""Who runs the steps of a pipeline: here, the command's own threads.

A pipeline is written once against `Runner`; `flows.prefect_runner` is the other one.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tasks.redaction import foreign_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tasks.results import StageResult

THREADS = 16
"""Steps at the same time in one process."""
_LOOKS = 0.05
"""Seconds between two looks at whether to stop."""
_IN_ORDER = 0.5
"""Seconds that steps have to end in order, so that a stop takes a second in all."""


@dataclass(frozen=True)
class Step:
    """A named function of one subject: an account or a destination.

    Attributes:
        name: Of the stage.
        run: The function.
        delivers: Whether events are out while it runs, so that it is never cut off.
    """

    name: str
    function: Callable[[str], StageResult]
    delivers: bool = False

    def run(self, subject: str) -> StageResult:
        """Run the function; what it says is fit for terminals and logs, whoever wrote it."""
        result = self.function(subject)
        for texts in vars(result).values():
            if isinstance(texts, list):
                texts[:] = [foreign_text(t, None) if isinstance(t, str) else t for t in texts]
        return result


class CutOff(Exception):  # noqa: N818 - reads as a sentence
    """Steps did not end soon after the stop, and their threads still run."""


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
    """Runs the steps in threads of this process, with no server and without Prefect.

    Once it is to stop no step begins. Those that run end in order. What cannot (a resolver or a
    disk that does not answer, a large file that is being normalized) is cut off after a moment: it
    leaves no more behind than a crash, which is nothing that a later run would see. A step that
    delivers is let finish and record what is out.

    Args:
        stop: Set when the run is to end early.
    """

    def __init__(self, stop: threading.Event | None = None) -> None:
        self._stop = stop or threading.Event()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="step")
        self._delivering: set[tuple[str, str]] = set()

    def submit(
        self, step: Step, subject: str, after: Sequence[Future[StageResult | None]] = ()
    ) -> Future[StageResult | None]:
        """Start a step in a thread; see `Runner`.

        The pool starts steps in the order of their submission, so one that waits always waits
        for steps that have a thread already.
        """

        def run() -> StageResult | None:
            wait(after)
            if self._stop.is_set():
                return None
            if not step.delivers:
                return step.run(subject)
            self._delivering.add((step.name, subject))
            try:
                return step.run(subject)
            finally:
                self._delivering.discard((step.name, subject))

        return self._pool.submit(run)

    def results(self, submitted: Sequence[Future[StageResult | None]]) -> list[StageResult]:
        """Wait for steps; see `Runner`.

        Raises:
            CutOff: They did not end when they were to stop. The process has to end now.
        """
        late = float("inf")
        while wait(submitted, timeout=_LOOKS).not_done:
            if self._stop.is_set():
                late = min(late, time.monotonic() + _IN_ORDER)
            if time.monotonic() > late and not self._delivering:
                raise CutOff("ended before all was done; the next run goes on from there")
        results = [future.result() for future in submitted]
        return [result for result in results if result is not None]
