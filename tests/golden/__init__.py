"""Golden cases: an event as Halo sends it, the row it must become and the CEF line of that.

`cases.jsonl` has one for every type of the catalogue; `make golden` writes its rows and lines anew,
and a person reads the difference. The events in it stay; only a type that is new to the catalogue
gets one drawn. `by_hand.toml` is written by hand from the specification and never by a command.
"""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from sandbox.events import generate
from tasks.cef.render import render
from tasks.plugin.catalogue import TYPES
from tasks.plugin.normalize import normalize

CASES = Path(__file__).parent / "cases.jsonl"
BY_HAND = Path(__file__).parent / "by_hand.toml"
DEVICE_ADDRESS = "50.57.180.190"


def by_hand() -> dict[str, Any]:
    """What `by_hand.toml` says."""
    return tomllib.loads(BY_HAND.read_text("utf-8"))


def cases() -> list[dict[str, Any]]:
    """The cases as they are written: `event`, `row` (null columns left out) and `cef`."""
    return [json.loads(line) for line in CASES.read_text("utf-8").splitlines()]


def cases_anew() -> list[dict[str, Any]]:
    """The cases as the code makes them now, one for each type in the catalogue's order."""
    events = {case["event"]["type"]: case["event"] for case in (cases() if CASES.exists() else [])}
    missing = set(TYPES) - events.keys()
    for event in _drawn() if missing else ():
        if event["type"] in missing:
            events.setdefault(event["type"], event)
    chosen = [events[kind] for kind in TYPES]
    rows = normalize(_raw(chosen), DEVICE_ADDRESS).rows
    lines = render(rows).lines.to_pylist()
    return [
        {"event": event, "row": _written(row), "cef": line}
        for event, row, line in zip(chosen, rows.to_pylist(), lines, strict=True)
    ]


def text_of(case: dict[str, Any]) -> str:
    """A case as its line in `cases.jsonl`."""
    return json.dumps(case, ensure_ascii=False, separators=(", ", ": ")) + "\n"


def _drawn() -> list[dict[str, Any]]:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    return list(generate(2000, since, since.replace(day=8), seed=182, account="golden"))


def _raw(events: list[dict[str, Any]]) -> pa.Table:
    times = [datetime.fromisoformat(event["created_at"]) for event in events]
    return pa.table(
        {
            "event_id": [event["id"] for event in events],
            "created_at": pa.array(times, pa.timestamp("us", tz="UTC")),
            "event": [json.dumps(event) for event in events],
        }
    )


def _written(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in row.items()
        if value is not None
    }
