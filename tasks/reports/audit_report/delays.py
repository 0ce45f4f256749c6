"""Delays counted in bins: percentiles of any number of events, in the same memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

_GROWTH = 1.02
"""How much wider each bin is than the one before: its middle is within 1 % of all in it."""
_FIRST = 1e-3
"""Seconds; whatever is shorter is in the first bin."""
_BINS = 1500
"""The last one holds delays of centuries."""


class Delays:
    """How long it took until events were delivered.

    Attributes:
        counts: Events in each bin; `SECONDS` has the delay that each stands for.
        longest: The longest delay in seconds; 0 without any.
        negative: Events that were delivered before they were created, by their own date.
    """

    SECONDS = np.concatenate([[0.0], _FIRST * _GROWTH ** (np.arange(_BINS - 1) + 0.5)])

    def __init__(self) -> None:
        self.counts = np.zeros(_BINS, np.int64)
        self.longest = 0.0
        self.negative = 0

    def add(self, delays: npt.NDArray[np.timedelta64]) -> None:
        """Count some delays."""
        if not len(delays):
            return
        seconds = delays / np.timedelta64(1, "s")
        self.longest = max(self.longest, float(seconds.max()))
        self.negative += int((seconds < 0).sum())
        steps = np.log(np.maximum(seconds, _FIRST) / _FIRST) / np.log(_GROWTH)
        bins = np.where(seconds < _FIRST, 0, np.floor(steps).astype(np.int64) + 1)
        self.counts += np.bincount(np.minimum(bins, _BINS - 1), minlength=_BINS)

    @property
    def events(self) -> int:
        """How many were counted."""
        return int(self.counts.sum())

    def percentile(self, percent: float) -> float | None:
        """The delay in seconds that `percent` of the events did not exceed; None without events.

        It is right to 1 %.
        """
        if not self.events:
            return None
        rank = max(1, int(np.ceil(self.events * percent / 100)))
        found = float(self.SECONDS[np.searchsorted(np.cumsum(self.counts), rank)])
        return min(found, max(self.longest, 0.0))
