"""Any event at all: a row or a rejection, the row valid, the line one line."""

from __future__ import annotations

import json
import re
import time
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.cef.render import LONGEST_LINE, render
from tasks.plugin.addresses import is_address
from tasks.plugin.columns import ColumnReader
from tasks.plugin.decode import UndecodableError
from tasks.plugin.fields import NORMALIZED_SCHEMA
from tasks.plugin.normalize import normalize
from tasks.plugin.sources import row_of
from tests.plugin.model import expected, numbers_as_written
from tests.plugin.mutate import mutated
from tests.plugin.raw import DEVICE, ID, normalized, raw_table

MAPPED = [
    *("id", "type", "name", "message", "created_at", "critical", "server_id", "server_hostname"),
    *("server_platform", "server_group_name", "server_ip_address", "server_primary_ip_address"),
    *("server_reported_fqdn", "actor_username", "actor_ip_address", "actor_key_id", "policy_name"),
    *("rule_name", "object_name"),
]
ADDRESSES = ["10.0.0.1", "010.0.0.1", "::1", "0:0::1", "fe80::1%eth0", "::ffff:1.2.3.4", "1.2.3"]
TEXTS = st.text(st.characters(exclude_characters="<&", exclude_categories=["Cs"]))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
    st.sampled_from([*ADDRESSES, "true", "False", "server_restarted", "Server Restarted", ID, ""]),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
)
KEYS = st.sampled_from(MAPPED) | TEXTS.filter(lambda key: key != "original_log_entry")
EVENTS = st.dictionaries(KEYS, VALUES, max_size=12)


@given(st.lists(EVENTS, min_size=1, max_size=5), st.booleans())
@example([{"critical": "", "policy_name": "", "rule_name": "x"}], True)  # noqa: FBT003
def test_rows_are_what_the_plugin_page_says(events: list[Any], ascii_only: bool) -> None:  # noqa: FBT001
    """Rows agree with a plain model of the plugin's page, and nothing that Halo said is lost."""
    texts = [json.dumps(event, ensure_ascii=ascii_only) for event in events]
    found = normalized(*texts)
    assert found.rejected.num_rows == 0
    for text, row in zip(texts, found.rows.to_pylist(), strict=True):
        model = expected_or_none(text)
        if model is not None:
            row["extras"] = numbers_as_written(row["extras"] or "{}")
            assert row == model


def expected_or_none(text: str) -> dict[str, Any] | None:
    """The model's row; None where it cannot say (a number in a column, an address in a message)."""
    if "from IP address" in text:
        return None
    try:
        return expected(text, ID)
    except TypeError:
        return None


@given(
    st.lists(st.binary() | st.text().map(str.encode) | VALUES.map(lambda v: json.dumps(v).encode()))
)
def test_anything_is_a_row_or_rejected(texts: list[bytes]) -> None:
    """Any bytes at all end in rows or in rejected, once, with a reason."""
    check(texts)


@pytest.mark.parametrize("seed", range(3))
def test_mutated_events(seed: int) -> None:
    """Mutated events give valid rows and one line each, or are rejected."""
    fuzz(Random(seed), seconds=1)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_mutated_events_for_ten_minutes() -> None:
    """The same for ten minutes, from a seed that is new every time and printed when it fails."""
    seed = time.time_ns()
    print(f"seed {seed}")
    fuzz(Random(seed), seconds=600)


def fuzz(random: Random, seconds: float) -> None:
    """Check mutated events until the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        check([mutated(random) for _ in range(200)])


def check(texts: list[bytes]) -> None:
    """Normalize and render; everything in is out, valid, and the same alone as among others."""
    found = normalize(raw_table(*texts), DEVICE)
    assert found.rows.num_rows + found.rejected.num_rows == len(texts)
    assert found.rows.schema.equals(NORMALIZED_SCHEMA)
    found.rows.validate(full=True)
    found.rejected.validate(full=True)
    assert all(found.rejected["reason"].to_pylist())
    rows = found.rows.to_pylist()
    for row in rows:
        check_row(row)
    lines = render(found.rows).lines.to_pylist()
    for line in lines:
        assert len(line.encode()) <= LONGEST_LINE
        assert line.startswith("CEF:0|CloudPassage|CPHalo|1.0|")
        assert not set(line) & set("\r\n\0\u2028\u2029\x85")
    if texts:
        alone = normalize(raw_table(texts[0]), DEVICE).rows
        assert alone.to_pylist() == rows[: alone.num_rows]


def check_row(row: dict[str, Any]) -> None:
    """Every value of a row is one that its column may have."""
    for name in ("source_address", "destination_address", "destination_translated_address"):
        assert row[name] is None or is_address(row[name])
    for name in ("source_port", "destination_port"):
        assert row[name] is None or 0 <= row[name] <= 65535
    assert row["bytes_in"] is None or row["bytes_in"] >= 0
    assert row["event_severity"] in (3, 9)
    assert row["device_direction"] in (0, 1)
    assert row["extras"] is None or json.loads(row["extras"])
    assert "" not in [value for value in row.values() if isinstance(value, str)]


@pytest.mark.parametrize("seed", range(3))
def test_many_at_a_time_is_one_at_a_time(seed: int) -> None:
    """Columns are what each event gives alone, whether a reader has learned its fields or not."""
    random = Random(seed)
    texts = [mutated(random) for _ in range(1000)]
    ids = [ID] * len(texts)
    reader = ColumnReader()
    first, refused = reader.read(texts, ids)
    again, refused_again = reader.read(texts, ids)
    assert refused == refused_again
    for position, text in enumerate(texts):
        if position in refused:
            with pytest.raises(UndecodableError, match=re.escape(refused[position])):
                row_of(text, ID)
        else:
            row = {name: value or None for name, value in row_of(text, ID).items()}
            assert {name: found[position].as_py() or None for name, found in first.items()} == row
            assert {name: found[position].as_py() or None for name, found in again.items()} == row


def test_pure() -> None:
    """The same raw table gives the same rows, however it is cut."""
    random = Random(5)
    raw = raw_table(*(mutated(random) for _ in range(700)))
    whole = normalize(raw, DEVICE)
    pieces = [normalize(raw.slice(start, 50), DEVICE) for start in range(0, 700, 50)]
    assert whole.rows.equals(pa.concat_tables([piece.rows for piece in pieces]))
    assert whole.rejected.equals(pa.concat_tables([piece.rejected for piece in pieces]))
