"""Events that filters tell apart, and what status and the audit count of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.reports.audit import RangeCounts, audit_range
from tasks.reports.status import status
from tests.staging.staged_data import at, raw, stage, transform, window
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from datetime import datetime

    from tasks.staging.store import Store

RANGE = window(0, 24)
LOGINS = "types=halo_login_failure,halo_login_success"


def events(*rows: tuple[str, datetime, str, bool]) -> pa.Table:
    """Raw events by id, time, type and whether they are critical."""
    texts = [
        json.dumps({"id": event_id, "type": kind, "critical": critical, "message": event_id})
        for event_id, _, kind, critical in rows
    ]
    table = raw((event_id, created) for event_id, created, _, _ in rows)
    return table.set_column(5, "event", pa.array(texts, pa.string()))


def hour(store: Store, number: int, kinds: str, account: str = "alpha") -> None:
    """An hour's events: `l` and `o` a login and another one, `L` and `O` critical ones."""
    rows = [
        (
            f"{number:02}-{minute}-{kind}",
            at(number + minute / 60),
            "halo_login_failure" if kind in "lL" else "server_restarted",
            kind.isupper(),
        )
        for minute, kind in enumerate(kinds)
    ]
    stage(store, window(number, number + 1), events(*rows), account)
    transform(store, account)


def counted(store: Store, url: str) -> tuple[int, int, int]:
    """Delivered, pending and excluded: as status and the audit count them, which agree."""
    sensor = destination(url)
    found = status(store, [sensor])
    by_name = found.destinations[sensor.name]
    audit = audit_range(store, RANGE, [sensor])
    assert (audit.problems, found.problems) == ([], [])
    counts = RangeCounts(by_name.delivered, by_name.pending, by_name.failed, by_name.excluded)
    assert audit.destinations[sensor.name] == counts
    assert by_name.delivered + by_name.pending + by_name.excluded == audit.normalized
    return by_name.delivered, by_name.pending, by_name.excluded
