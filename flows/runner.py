"""Runs the steps of a pipeline in threads of this process, without Prefect.

A pipeline is written once against `Runner`; `flows.prefect_runner` has the one for flow runs.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Protocol

from flows.stages import DELIVERING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tasks.results import StageResult

    Stage = Callable[..., StageResult]
    _Future = Future[StageResult | None]

THREADS = 16
"""How many steps run at the same time in one process."""
_POLL_SECONDS = 0.05
"""How often the runner checks whether to stop."""
_STOP_SECONDS = 0.5
"""How long steps may take to end in order, so that a stop takes a second in all."""


class CutOff(Exception):  # noqa: N818 - reads as a sentence
    """Steps did not end soon after the stop; their threads still run."""


class Runner(Protocol):
    """Runs steps at the same time, each after those it has to wait for."""

    def submit(
        self, stage: Stage, *arguments: Any, after: Sequence[Any] = (), **options: Any
    ) -> Any:
        """Start a step once all steps in `after` have ended, whether they succeeded or failed.

        `stage` is a function of `flows.stages`; `after` has what `submit` returned for others.
        """

    def results(self, submitted: Sequence[Any]) -> list[StageResult]:
        """Wait for these steps and return their results, in order.

        Raises:
            Exception: A step has a bug. Steps report expected faults in their results.
        """


class ThreadRunner:
    """Runs the steps in threads of this process, with no server and without Prefect.

    After the stop no step begins. The steps that run are given a moment to end in order. One that
    cannot (it waits for a resolver or a disk that does not answer, or normalizes a large file) is
    cut off: it leaves behind no more than a crash does, which no later run sees. A step that
    delivers is always waited for, so that it records what it has sent.

    Args:
        stop: Set when the run is to end early.
    """

    def __init__(self, stop: threading.Event | None = None) -> None:
        self._stop = stop or threading.Event()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="step")
        self._delivering: set[int] = set()  # threads

    def submit(
        self, stage: Stage, *arguments: Any, after: Sequence[_Future] = (), **options: Any
    ) -> _Future:
        """Start a step in a thread; see `Runner`.

        The pool starts steps in the order of their submission, so one that waits always waits
        for steps that have a thread already.
        """

        def run() -> StageResult | None:
            wait(after)
            if self._stop.is_set():
                return None
            if stage in DELIVERING:
                self._delivering.add(threading.get_ident())
            try:
                return stage(*arguments, **options)
            finally:
                self._delivering.discard(threading.get_ident())

        return self._pool.submit(run)

    def results(self, submitted: Sequence[_Future]) -> list[StageResult]:
        """Wait for steps; see `Runner`.

        Raises:
            CutOff: A step did not end soon after the stop. The process has to end now.
        """
        deadline = float("inf")
        while wait(submitted, timeout=_POLL_SECONDS).not_done:
            if self._stop.is_set():
                deadline = min(deadline, time.monotonic() + _STOP_SECONDS)
            if time.monotonic() > deadline and not self._delivering:
                raise CutOff("ended before all was done; the next run goes on from there")
        results = [future.result() for future in submitted]
        return [result for result in results if result is not None]
