"""Lengths: values are cut by characters, whole lines by bytes, and the row says so."""

from __future__ import annotations

import pytest

from tasks.plugin.fields import FIELDS, Field
from tests.cef.events import Row, event, line_of, truncated

BARE: Row = {"rep_device_vendor": "CloudPassage", "rep_device_version": "1.0"}


BARE_HEAD = "CEF:0|CloudPassage|CPHalo|1.0||||"


@pytest.mark.parametrize("field", [field for field in FIELDS if field.limit], ids=lambda f: f.name)
def test_limits(field: Field) -> None:
    """A value of exactly its limit stays; one character more is cut, with an ellipsis, and said."""
    assert field.limit is not None
    for character in "x", "é", "😀":
        whole, longer = character * field.limit, character * (field.limit + 1)
        row = event(**{field.name: whole})
        assert whole in line_of(row)
        assert not truncated(row)
        row = event(**{field.name: longer})
        assert f"{character * (field.limit - 1)}…" in line_of(row)
        assert whole not in line_of(row)
        assert truncated(row)


def test_limits_count_characters_before_escaping() -> None:
    """What escapes add does not count, and an escape is never cut in two."""
    row = BARE | {"event_action": "=" * 64}
    assert line_of(row) == BARE_HEAD + "act=" + "\\=" * 62 + "…"
