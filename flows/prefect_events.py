"""The events that the pipeline emits, for automations such as those of `deployments/alerts.py`.

A run emits an event for each destination or account concerned:

    halo-usm.pending        every run, while the oldest pending event is more than an hour old
    halo-usm.rejected       a run that rejected events, and only that one
    halo-usm.unknown-type   a run that normalized events of a type that the catalogue does not
                            know: an event for each type
    halo-usm.certificate    every run, while a certificate of a destination expires within 14 days
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from prefect.events import emit_event

from tasks.extract.result import ExtractResult
from tasks.load.result import LoadResult
from tasks.redaction import foreign_text
from tasks.syslog.certificates import expiring
from tasks.time_window import isoformat
from tasks.transform.account import TransformResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.reports.status import Status
    from tasks.results import StageResult
    from tasks.syslog.certificates import Expiring
    from tasks.syslog.destination import Destination

PENDING = "halo-usm.pending"
REJECTED = "halo-usm.rejected"
UNKNOWN_TYPE = "halo-usm.unknown-type"
CERTIFICATE = "halo-usm.certificate"

TAG = "halo-usm"
"""The tag of each of our flow runs; `deployments/prefect.yaml` gives it to deployments."""
TYPE_LABEL = "halo-usm.type"
"""The label of a resource that has the type of `UNKNOWN_TYPE`."""
PENDING_FOR = timedelta(hours=1)
"""How old the oldest pending event is when `PENDING` is emitted."""
_MOST_TYPES = 20
"""Of how many types a run emits an event at most; the log has all."""


def emit_of_results(results: Sequence[StageResult], destinations: Sequence[Destination]) -> None:
    """Emit what the steps of a run tell: rejected events, unknown types, certificates."""
    rejected: Counter[str] = Counter()
    unknown: list[tuple[str, str, int]] = []
    seen: dict[str, datetime | None] = {}
    for result in results:
        if isinstance(result, ExtractResult):
            rejected[result.subject] += result.malformed
        elif isinstance(result, TransformResult):
            rejected[result.subject] += result.rejected
            unknown += [(result.subject, *counted) for counted in result.unknown_types.items()]
        elif isinstance(result, LoadResult):
            seen[result.subject] = result.certificate_until
    for account, count in (+rejected).items():
        _emit(REJECTED, "account", account, {"rejected": count})
    for account, kind, count in unknown[:_MOST_TYPES]:
        payload = {"type": foreign_text(kind), "events": count}
        _emit(UNKNOWN_TYPE, "account", account, payload, {TYPE_LABEL: foreign_text(kind)})
    for destination in destinations:
        if found := expiring(destination, seen.get(destination.name)):
            emit_expiring(destination.name, found)


def emit_pending(answer: Status, results: Sequence[StageResult], now: datetime) -> None:
    """Emit an event for each destination whose oldest pending event is more than an hour old.

    Another run that holds a destination is still delivering.
    """
    held = {one.subject for one in results if isinstance(one, LoadResult) and one.held}
    for name, row in answer.destinations.items():
        if name in held:
            continue
        if row.oldest_pending is not None and now - row.oldest_pending > PENDING_FOR:
            payload = {
                "pending": row.pending,
                "failed": row.failed,
                "oldest_pending": isoformat(row.oldest_pending),
            }
            _emit(PENDING, "destination", name, payload)


def emit_expiring(destination: str, found: Sequence[Expiring]) -> None:
    """Emit that certificates of a destination expire soon."""
    first = min(found, key=lambda one: one.until)
    payload = {
        "expires": isoformat(first.until),
        "days": (first.until - datetime.now(UTC)).days,
        "certificates": [one._asdict() | {"until": isoformat(one.until)} for one in found],
    }
    _emit(CERTIFICATE, "destination", destination, payload)


def _emit(
    event: str, kind: str, name: str, payload: dict[str, Any], labels: dict[str, str] | None = None
) -> None:
    resource = {
        "prefect.resource.id": f"halo-usm.{kind}.{name}",
        "prefect.resource.name": name,
    }
    emit_event(event, resource=resource | (labels or {}), payload=payload)
