"""The page of an audit: its template filled with the facts."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from tasks.redaction import foreign_text, redact_address
from tasks.reports.audit_report import charts
from tasks.reports.audit_report.coverage import total
from tasks.reports.audit_report.deliveries import LIVE

if TYPE_CHECKING:
    from collections import Counter

    from tasks.reports.audit_report.facts import AuditFacts
    from tasks.time_window import Window

MOST_FILES = 5000
"""The most files whose hashes are listed one by one; of more, only those of whole folders are."""
_MOST = {"gaps": 200, "reasons": 100, "strips": 60, "problems": 200}
"""How many of each are shown; the rest is counted."""
_NONE = "-"
_UNITS = {"d": 86_400, "h": 3600, "min": 60, "s": 1}
_SHOWN_UNITS = 2
_SHORT = 10  # seconds, which are shown with a decimal
_TEMPLATE = files(__package__).joinpath("page.html.jinja")


def page(facts: AuditFacts, command: str, staging: str) -> str:
    """The page of an audit: HTML that loads nothing and runs nothing.

    Args:
        facts: What it says.
        command: The command that made it.
        staging: Where the staging is: a path or an address.
    """
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {
        "count": "{:,}".format,
        "time": _time,
        "duration": _duration,
        "share": _share,
    }
    found = [one.deliveries for one in facts.destinations.values()]
    counts = facts.audit.destinations.values()
    return environment.from_string(_TEMPLATE.read_text("utf-8")).render(
        facts=facts,
        audit=facts.audit,
        window=facts.window,
        command=command,
        staging=redact_address(staging) if "://" in staging else staging,
        version=version("halo-usm"),
        live=LIVE,
        statuses=charts.STATUSES,
        most=_MOST,
        total=total,
        days_of=_days_of,
        pending=sum(row.pending for row in counts),
        failed=sum(row.failed for row in counts),
        negative=sum(one.live.negative + one.backfill.negative for one in found),
        gaps=_gaps(facts),
        unread=[
            one.account for one in facts.accounts if not (one.covered or one.lost or one.dropped)
        ],
        pictures=_pictures(facts),
        list_files=_ledger_files(facts) <= MOST_FILES,
    )


def _shown(value: object) -> object:
    """What the template prints: no text is markup, and none has characters that show nothing."""
    return value if isinstance(value, Markup) else foreign_text(value, None)


def _pictures(facts: AuditFacts) -> dict[str, Any]:
    troubled = sorted(facts.accounts, key=lambda account: not (account.gaps or account.lost))
    strips = sorted(troubled[: _MOST["strips"]], key=lambda account: account.account)
    found = facts.destinations.values()
    return {
        "coverage": charts.coverage(strips, facts.window) if strips else None,
        "attempts": {
            one.name: charts.attempts(one.deliveries.attempts, one.name)
            for one in found
            if one.deliveries.attempts
        },
        "delays": {
            one.name: charts.delays(one.deliveries.live, one.deliveries.backfill, one.name)
            for one in found
            if one.deliveries.times
        },
    }


def _gaps(facts: AuditFacts) -> list[tuple[str, str, Window]]:
    return [
        (account.account, kind, gap)
        for account in facts.accounts
        for kind, gaps in (("gap", account.gaps), ("lost", account.lost))
        for gap in gaps
    ]


def _days_of(attempts: dict[str, Counter[date]]) -> list[date]:
    return sorted({day for counted in attempts.values() for day in counted})


def _ledger_files(facts: AuditFacts) -> int:
    return sum(day.count for one in facts.destinations.values() for day in one.ledger)


def _time(moment: datetime | date | Window) -> str:
    if isinstance(moment, datetime):
        text = moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
        return text.removesuffix(":00")
    return str(moment)


def _duration(length: timedelta | float | None) -> str:
    """A length of time in its two largest units."""
    if length is None:
        return _NONE
    seconds = length.total_seconds() if isinstance(length, timedelta) else length
    if 0 < seconds < _SHORT:
        return f"{seconds:.1f} s"
    rest, shown = round(seconds), []
    for unit, size in _UNITS.items():
        count, rest = divmod(rest, size)
        if count:
            shown.append(f"{count} {unit}")
        if len(shown) == _SHOWN_UNITS:
            break
    return " ".join(shown) or "0 s"


def _share(part: timedelta, whole: timedelta) -> str:
    """A share in percent; only all of it is 100 %."""
    return "100 %" if part == whole else f"{min(part / whole * 100, 99.99):.2f} %"
