"""Golden cases: events, rows and lines that a person has read."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from tasks.cef.render import render
from tasks.plugin.catalogue import TYPES
from tasks.plugin.normalize import normalize
from tests.golden import by_hand, cases, cases_anew

HEAD = "CEF:0|CloudPassage|CPHalo|1.0|"
FILE = by_hand()


def test_there_is_a_case_for_every_type() -> None:
    """Each of the catalogue's types has one case, in the catalogue's order."""
    assert [case["event"]["type"] for case in cases()] == list(TYPES)


@pytest.mark.parametrize(
    ("written", "made"),
    list(zip(cases(), cases_anew(), strict=True)),
    ids=[case["event"]["type"] for case in cases()],
)
def test_cases(written: dict[str, Any], made: dict[str, Any]) -> None:
    """Rows and lines are those that were reviewed; if they should not be, run `make golden`."""
    assert made == written


@pytest.mark.parametrize("case", FILE["case"], ids=[case["name"] for case in FILE["case"]])
def test_cases_by_hand(case: dict[str, Any]) -> None:
    """Rows and lines are those that were written by hand from the specification."""
    staged = FILE["staged"]
    raw = pa.table(
        {
            "event_id": [staged["event_id"]],
            "created_at": pa.array([staged["created_at"]], pa.timestamp("us", tz="UTC")),
            "event": [case["event"]],
        }
    )
    rows = normalize(raw, staged["device_address"]).rows
    found = {name: value for name, value in rows.to_pylist()[0].items() if value is not None}
    assert found == FILE["always"] | case["row"]
    rendered = render(rows)
    assert rendered.lines[0].as_py() == HEAD + case["cef"]
    assert rendered.truncated[0].as_py() is case.get("truncated", False)


def test_enough_cases_by_hand() -> None:
    """There are more than twenty cases by hand, each with a name of its own."""
    names = [case["name"] for case in FILE["case"]]
    assert len(names) == len(set(names)) > 20
