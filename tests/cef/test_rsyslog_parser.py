"""Over the wire into rsyslog, read by the CEF parser of its normalizer (liblognorm's `cef`).

Its stated limit: it skips one character after the header, for a space that the specification
does not have, so that the first key comes without its first letter. Its values are whole.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from tasks.cef.render import render
from tasks.plugin.fields import FIELDS, NORMALIZED_SCHEMA
from tasks.plugin.normalize import normalize
from tasks.staging.deliveries.last_attempts import DELIVERED
from tasks.syslog.message import encode
from tests.cef.decode import decode
from tests.cef.events import NASTY, Row, event, table
from tests.cef.test_properties import expected
from tests.rsyslog import LISTENERS, RSyslog, require
from tests.staging.staged_data import DAY, realistic
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEADER = {
    "DeviceVendor": "vendor",
    "DeviceProduct": "product",
    "DeviceVersion": "device_version",
    "SignatureID": "signature_id",
    "Name": "name",
    "Severity": "severity",
}
TEXTS = [field.name for field in FIELDS if field.type == "string" and field.cef]
TRICKY = [
    *NASTY,
    "a=b c=d",
    "x\nCEF:0|a|b|c|1|n|9|dst=6.6.6.6",
    "x\r\n<14>Aug 22 16:24:30 host cpapi: CEF:0|a|b|c|1|n|9|dst=6.6.6.6",
    "108 <14>1 2016-08-22T16:24:30Z host cpapi - - - CEF:0|a|b|c|1|n|9|",
    "ends with a backslash \\",
    "\\\\\\=\\|\\n\\r",
    "C:\\Windows\\new\\root=1",
    "|| a | b ||",
    "  outer spaces  ",
    "=",
    "key=",
    "%s %n %msg% $!all-json ${MESSAGE} `id` $(id)",
    '{"a":"b\\"c"}',
    "tab\tnul\x00escape\x1b[31m",
    "Zürich 東京 🚀 \u05e9\u05dc\u05d5\u05dd",
    "é" * 1023,
    "=" * 1023,
    "\\" * 1024,
]


_AT_ONCE = 50  # datagrams that the buffer of a receiver takes which the machine has no time for


def tricky_rows() -> list[Row]:
    """Every tricky text in every kind of place, and mixtures of them in all places at once."""
    random = Random(5)
    places = ("event_name", "event_description", "destination_hostname", "policy", "extras")
    rows = [event(**{place: text}) for text in TRICKY for place in places]
    rows += [event(), {}, event(original_log_entry="😀\\=" * 1300)]
    rows += [
        {name: "".join(random.choices(TRICKY[:-3], k=random.randint(0, 3))) for name in TEXTS}
        for _ in range(100)
    ]
    return rows


def generated_rows() -> list[Row]:
    """Events of every type, as they come out of the normalizer."""
    made = normalize(realistic(400, DAY, DAY + timedelta(days=1)), "192.0.2.1")
    assert not made.rejected.num_rows
    rows: list[Row] = made.rows.to_pylist()
    return rows


@pytest.fixture
def sensor(tmp_path: Path) -> Iterator[RSyslog]:
    """A real rsyslog that parses CEF.

    Each listener has its own: after TLS, rsyslog 8.2302 may cut off or hang on plain connections.
    """
    require()
    with RSyslog(tmp_path, parses_cef=True) as running:
        yield running


@pytest.mark.parametrize("listener", LISTENERS)
def test_values_arrive(sensor: RSyslog, listener: str) -> None:
    """The parser reads the row's values, one event a line, whatever is in them."""
    rows = [*tricky_rows(), *generated_rows()]
    events = table(*rows)
    assert events.schema.equals(NORMALIZED_SCHEMA)
    lines = render(events).lines
    to = destination(sensor.url(listener))
    when = datetime(2026, 3, 1, tzinfo=UTC)
    times = pa.repeat(pa.scalar(when, pa.timestamp("us", tz="UTC")), len(rows))
    hosts = pa.repeat("web-1.example", len(rows))
    messages = encode(lines, times, hosts, to)
    transport = to.open_transport()
    for first in range(0, len(rows), _AT_ONCE):
        outcome = transport.deliver(messages[first : first + _AT_ONCE])
        assert set(outcome.statuses.to_pylist()) <= set(DELIVERED), outcome.error
        sensor.wait_for(listener, min(first + _AT_ONCE, len(rows)))
    texts = lines.to_pylist()
    assert sensor.messages(listener) == texts
    for row, line, parsed in zip(rows, texts, sensor.parsed(listener), strict=True):
        header, pairs, _ = expected(row)
        assert parsed.header == {theirs: header[ours] for theirs, ours in HEADER.items()}
        first_key = decode(line).pairs[0][0] if pairs else None
        assert parsed.pairs == {
            key[1:] if key == first_key else key: value for key, value in pairs.items()
        }
