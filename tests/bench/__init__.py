"""Benchmarks: what this project promises of its speed, measured beside its peers in one run."""

from __future__ import annotations

from typing import NamedTuple


class Measured(NamedTuple):
    """One figure beside its target.

    Attributes:
        name: What was measured.
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
