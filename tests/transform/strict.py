"""A normalizer that rejects what it is told to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tasks.plugin import normalize as plugin
from tests.staging.staged_data import broken

if TYPE_CHECKING:
    import pytest


class Strict:
    """A normalizer that cannot go on with some events: what a faulty version does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refused: set[str] = set()
        self._normalize = plugin.normalize
        monkeypatch.setattr(plugin, "normalize", self)

    def __call__(self, table: Any, device_address: str) -> Any:
        """Normalize, after spoiling what is to be refused."""
        mask = pa.array([event_id in self.refused for event_id in table["event_id"].to_pylist()])
        spoilt = broken(table, *self.refused)
        return self._normalize(spoilt if mask.true_count else table, device_address)
