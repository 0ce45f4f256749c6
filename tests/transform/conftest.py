"""What the tests of transform start from."""

from __future__ import annotations

import pytest

from tests.transform.strict import Strict


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> Strict:
    """The normalizer, which may be told to refuse events."""
    return Strict(monkeypatch)
