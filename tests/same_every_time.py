"""Runs the product so that it stages the same bytes every time.

What differs from run to run is set from outside: the clock, the random part of names, and the order
of steps that run at the same time.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from functools import partial
from random import Random
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Self
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flows.runner import Stage
    from sandbox.halo_api import Clock
    from tasks.results import StageResult

_READS_THE_CLOCK = (
    "tasks.extract.account",
    "tasks.halo.responses",
    "tasks.load.pending_days",
    "tasks.load.recorded_transport",
    "tasks.settings",
    "tasks.staging.raw",
    "tasks.transform.conversion",
)
"""The modules whose times are staged, or decide what is."""
_STEP = timedelta(seconds=2.3)
"""From the beginning of one step to that of the next."""


class _Now(datetime):
    """Stands in for `datetime` in the modules above: `now` is what the week's clock says."""

    clock: Clock

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override] # noqa: ARG003
        return cls.clock.now()


class NoWait(threading.Event):
    """A stop that nobody sets; who waits for it between two attempts moves the clock instead."""

    def wait(self, timeout: float | None = None) -> bool:
        """Move the clock on by so many seconds; nobody has set the stop."""
        _Now.clock.advance(timedelta(seconds=timeout or 0))
        return False


class OneByOne:
    """A `flows.runner.Runner` that runs each step at once, some seconds after the one before."""

    def submit(
        self,
        stage: Stage,
        *arguments: Any,
        after: Sequence[Any] = (),  # noqa: ARG002 - they have ended
        **options: Any,
    ) -> StageResult:
        """Run a step."""
        _Now.clock.advance(_STEP)
        return stage(*arguments, **options)

    def results(self, submitted: Sequence[StageResult]) -> list[StageResult]:
        """What the steps returned."""
        return list(submitted)


class _Names:
    """Stands in for the module `secrets` where names are made."""

    def __init__(self) -> None:
        self._random = Random(0)

    def token_hex(self, count: int) -> str:
        return self._random.randbytes(count).hex()


class _NoPool:
    """Stands in for `ThreadPoolExecutor` where names are drawn in threads."""

    def __init__(self, *_: object) -> None:
        """Without threads."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left under way."""

    map = staticmethod(map)


@contextmanager
def same_every_time(clock: Clock) -> Iterator[None]:
    """Let the product read this clock, and draw the same names, within the context."""
    _Now.clock = clock
    with ExitStack() as stack:
        for module in _READS_THE_CLOCK:
            stack.enter_context(mock.patch(f"{module}.datetime", _Now))
        stack.enter_context(mock.patch("tasks.staging.names.file_names.secrets", _Names()))
        # names that are never published are drawn at any time, in any thread
        stack.enter_context(
            mock.patch("tasks.staging.storage.local_files.unique", partial(token_hex, 4))
        )
        stack.enter_context(mock.patch("tasks.load.batch_record.ThreadPoolExecutor", _NoPool))
        stack.enter_context(mock.patch("tasks.syslog.end_delay.UNPROVEN_SECONDS", 0.02))
        yield
