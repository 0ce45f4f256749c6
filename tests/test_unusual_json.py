"""Events whose JSON is not strict, or nested beyond any parser's depth, on the whole way."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow.dataset as ds
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import odd_events
from sandbox.halo_api import HaloStandIn
from sandbox.receiver import Receiver
from tasks.halo.decode import decode
from tasks.halo.fetched_events import FetchedEvents
from tasks.plugin.normalize import normalize
from tasks.time_window import Window
from tests.cef.decode import decode as decode_cef
from tests.flows.command import command_for

if TYPE_CHECKING:
    from pathlib import Path

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
CONTROLS = "".join(map(chr, range(0x20))) + "\x7f"
MAPPED = ["type", "name", "message", "critical", "server_hostname", "actor_ip_address"]

texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(CONTROLS), max_size=20)
depths = st.sampled_from([1, 100, 253, 254, 255, 990, 1000, 5000, 20_000])


def plain(number: int) -> bytes:
    """A strict event."""
    return json.dumps({"id": f"{number:032x}", "created_at": "2026-03-04T12:00:00Z"}).encode()


@st.composite
def unusual(draw: st.DrawFn, number: int) -> bytes:
    """An event with an id and a date, whose other members hold raw controls or are very deep."""
    members = [
        f'"id":"{number:032x}"',
        '"created_at":"2026-03-04T12:00:00.123Z"',
    ]
    for _ in range(draw(st.integers(0, 4))):
        key, value = draw(st.sampled_from(MAPPED) | texts), draw(texts)
        if key in {"id", "created_at"}:
            continue
        text = _unescaped(value)
        if draw(st.booleans()):
            levels, opening = draw(depths), draw(st.sampled_from(["[", '{"a":']))
            closing = "]" if opening == "[" else "}"
            text = opening * levels + text + closing * levels
        members.append(f"{_unescaped(key)}:{text}")
    return ("{" + ",".join(draw(st.permutations(members))) + "}").encode()


def _unescaped(text: str) -> str:
    """A JSON string in which quotes and backslashes are escaped, and controls are not."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@settings(max_examples=30)
@given(st.data())
def test_any_such_event_is_raw_once_and_normalized_and_costs_no_neighbour(data: Any) -> None:
    """Raw controls and any depth: the text is kept to the byte, and becomes one normalized row."""
    odd = [data.draw(unusual(number)) for number in range(1, 4)]
    texts = [plain(10), odd[0], odd[1], plain(11), odd[2], odd[0], plain(12)]
    fetched = FetchedEvents()
    fetched.add(decode(b'{"count":7,"events":[' + b",".join(texts) + b"]}"))
    events, malformed = fetched.tables(Window.of_day(NOON.date()))
    assert malformed.num_rows == 0
    staged = dict(zip(events["event_id"].to_pylist(), events["event"].to_pylist(), strict=True))
    assert len(staged) == events.num_rows == 6
    assert [staged[f"{number:032x}"].encode() for number in (1, 2, 3)] == odd
    found = normalize(events, "192.0.2.1")
    assert found.rejected.num_rows == 0
    assert found.rows["event_id"].to_pylist() == events["event_id"].to_pylist()
    found.rows.validate(full=True)


def test_such_events_reach_the_sensor(tmp_path: Path) -> None:
    """A sync delivers them beside ordinary events, and raw has their text as Halo sent it."""
    created_at = datetime.now(UTC) - timedelta(hours=1)
    odd = odd_events.odd(created_at)
    with HaloStandIn(1, events=250, days=1) as halo, Receiver("tcp") as receiver:
        halo["alpha"].add(odd.values(), created_at=created_at)
        halo_usm = command_for(tmp_path, halo, receiver.url("tcp"), days=2)
        halo_usm("sync")
        received = receiver.wait_for(250 + len(odd), "tcp")
    assert len(received) == 250 + len(odd)
    raw = ds.dataset(tmp_path / "staging" / "raw" / "account=alpha").to_table()
    staged = {row["event_id"]: row["event"] for row in raw.to_pylist()}
    ids = {name: json.loads(text[: text.index(b",")] + b"}")["id"] for name, text in odd.items()}
    assert {name: staged[event_id].encode() for name, event_id in ids.items()} == odd
    assert not (tmp_path / "staging" / "rejected").exists()
    lines = [message.decode() for message in received]
    decoded = [dict(decode_cef(line[line.index("CEF:0|") :]).pairs) for line in lines]
    by_id = {fields["externalId"]: fields for fields in decoded}
    assert len(by_id) == len(received)
    controls = by_id[ids["controls that are not escaped"]]
    assert controls["msg"] == "tab bell\ufffdline\r\nend"
    deep = by_id[ids["deeper than any parser goes"]]
    assert deep["cs5"].startswith('{"after":"it","nested":"[[[[[')
    assert by_id[ids["value that is none"]]["msg"] == "undefined"
