"""Benchmarks: what this project promises of its speed, measured beside its peers in one run."""

from __future__ import annotations

import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.flows.command import Command


class Measured(NamedTuple):
    """One figure beside its target.

    A target holds on any machine: it is a ratio to something that runs beside it, or a count of
    bytes, files or events. A rate or a time has none.

    Attributes:
        name: What was measured, and what of it was in the clock.
        figure: What came out.
        target: What is wanted: at least so much, or at most where `at_most` says so; None where
            the figure is there to compare with.
        unit: Of both.
        note: How it was measured, or what it was compared with.
        at_most: Whether less is better.
    """

    name: str
    figure: float
    target: float | None
    unit: str
    note: str = ""
    at_most: bool = False

    @property
    def reached(self) -> bool:
        """Whether the target was reached; true where there is none."""
        if self.target is None:
            return True
        return self.figure <= self.target if self.at_most else self.figure >= self.target


@contextmanager
def one_thread() -> Iterator[None]:
    """Meanwhile pyarrow computes on one thread, so that CPU time can be compared."""
    threads = pa.cpu_count()
    pa.set_cpu_count(1)
    try:
        yield
    finally:
        pa.set_cpu_count(threads)


def cpu_seconds(command: Command, *arguments: str) -> float:
    """CPU of a whole process that runs a command and of its children, start included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command(*arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
