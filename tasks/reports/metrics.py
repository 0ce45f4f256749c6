"""The state of a staging as OpenMetrics text, for Prometheus.

Every metric is a gauge: the text is valid OpenMetrics, and valid in the older text format of
Prometheus too, which the textfile collector of node_exporter reads. Times are exported, not ages:
`time() - …` in PromQL is the age, and goes on growing where nothing writes the text any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from tasks.reports.status import Status

PREFIX = "halo_usm_"


class _Metric(NamedTuple):
    """A metric: its name, its help text, and its value; None for no sample."""

    name: str
    documentation: str
    value: Callable[[Any], float | None]


_OF_ACCOUNT = (
    _Metric(
        "covered_until_timestamp_seconds",
        "Until when the events of the account were read from Halo, as Unix time; "
        "the age is time() minus this.",
        lambda found: _unix(found.covered_until),
    ),
    _Metric(
        "newest_event_timestamp_seconds",
        "When the newest staged event was created, as Unix time.",
        lambda found: _unix(found.newest_event),
    ),
    _Metric(
        "gaps",
        "Ranges of time between the first and the last reading that were not read.",
        lambda found: len(found.gaps),
    ),
    _Metric(
        "gap_seconds",
        "How long these ranges are together.",
        lambda found: sum(gap.duration.total_seconds() for gap in found.gaps),
    ),
    _Metric(
        "dropped_seconds",
        "How much of the account's time was read and then dropped by retention.",
        lambda found: sum(part.duration.total_seconds() for part in found.dropped),
    ),
    _Metric(
        "sealed_until_timestamp_seconds",
        "The end of the newest day that halo-usm maintain has sealed, as Unix time. "
        "Absent before the first.",
        lambda found: _unix(found.sealed_until),
    ),
    _Metric("events_staged", "Raw events in the staging.", lambda found: found.staged),
    _Metric(
        "events_normalized", "Normalized events in the staging.", lambda found: found.normalized
    ),
    _Metric(
        "events_rejected",
        "Events that could not be understood, kept with the reason.",
        lambda found: found.rejected,
    ),
)
"""Of an account, from `tasks.reports.status.AccountStatus`."""

_OF_DESTINATION = (
    _Metric(
        "events_delivered",
        "Events whose last attempt is confirmed, or sent on UDP.",
        lambda found: found.delivered,
    ),
    _Metric("events_pending", "Events not delivered, tried or not.", lambda found: found.pending),
    _Metric(
        "events_failed",
        "Events whose last attempt failed or is unconfirmed; part of those pending.",
        lambda found: found.failed,
    ),
    _Metric(
        "events_excluded",
        "Events not delivered that the destination leaves out: since=, types=, critical=.",
        lambda found: found.excluded,
    ),
    _Metric(
        "oldest_pending_timestamp_seconds",
        "When the oldest pending event was created, as Unix time; the age is time() minus this. "
        "Absent where nothing is pending.",
        lambda found: _unix(found.oldest_pending),
    ),
)
"""Of an account at a destination, from `tasks.staging.deliveries.pending.DeliveryCounts`."""

_OF_ALL = (
    _Metric(
        "events_of_unknown_type",
        "Normalized events whose type the catalogue does not know.",
        lambda found: sum(found.unknown_types.values()),
    ),
    _Metric(
        "staging_problems",
        "What of the staging cannot be read or is foreign, and so not counted; "
        "halo-usm status names it.",
        lambda found: len(found.problems),
    ),
)
"""Of the whole staging, from `tasks.reports.status.Status`."""


def metrics(status: Status) -> str:
    """The metrics of a staging, as OpenMetrics text."""
    registry = CollectorRegistry()
    registry.register(_Collected(status))
    text: bytes = generate_latest(registry)
    return text.decode()


class _Collected(Collector):
    """What a status tells, as `prometheus_client` collects it."""

    def __init__(self, status: Status) -> None:
        self.status = status

    def collect(self) -> Iterator[GaugeMetricFamily]:
        accounts = [((name,), found) for name, found in self.status.accounts.items()]
        deliveries = [
            ((account, name), found)
            for name, destination in self.status.destinations.items()
            for account, found in destination.accounts.items()
        ]
        yield from _families(_OF_ACCOUNT, ["account"], accounts)
        yield from _families(_OF_DESTINATION, ["account", "destination"], deliveries)
        yield from _families(_OF_ALL, [], [((), self.status)])


def _families(
    metrics: Iterable[_Metric],
    labels: list[str],
    all_found: Iterable[tuple[tuple[str, ...], object]],
) -> Iterator[GaugeMetricFamily]:
    for metric in metrics:
        family = GaugeMetricFamily(PREFIX + metric.name, metric.documentation, labels=labels)
        for values, found in all_found:
            value = metric.value(found)
            if value is not None:
                family.add_metric(values, value)
        yield family


def _unix(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
