"""What Prefect's pages show of the pipeline: the status, the coverage, what a run did.

Made of results and of the staging's status alone; `flows.flow_report` publishes it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from flows.coverage_picture import DAYS, coverage_picture
from flows.markdown import bullets, literal, paragraphs, table
from tasks.extract.result import ExtractResult
from tasks.load.result import LoadResult
from tasks.maintain.account import MaintainResult
from tasks.plurals import counted
from tasks.staging.deliveries.pending import DeliveryCounts
from tasks.time_window import isoformat, to_the_minute
from tasks.transform.account import TransformResult

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from tasks.load.result import Rest
    from tasks.reports.status import Status
    from tasks.results import StageResult


def status_table(answer: Status) -> list[dict[str, Any]]:
    """A row for each account and destination: names, times and counts, no text from outside."""
    rows: list[dict[str, Any]] = []
    for name, account in sorted(answer.accounts.items()):
        deliveries = {
            destination: row.accounts.get(name, DeliveryCounts())
            for destination, row in sorted(answer.destinations.items())
        } or {"": DeliveryCounts()}
        rows.extend(
            {
                "account": name,
                "destination": destination,
                "covered until": to_the_minute(account.covered_until),
                "gaps": len(account.gaps),
                "staged": account.staged,
                "delivered": counts.delivered,
                "pending": counts.pending,
                "failed": counts.failed,
                "excluded": counts.excluded,
                "rejected": account.rejected,
                "oldest pending": to_the_minute(counts.oldest_pending),
                "newest event": to_the_minute(account.newest_event),
            }
            for destination, counts in deliveries.items()
        )
    return rows


def status_description(answer: Status, now: datetime) -> str:
    """What stands above the status: when it was read, and what could not be."""
    unknown = [
        f"{counted(count, 'event')} of a type that the catalogue does not know: {literal(kind)}"
        for kind, count in answer.unknown_types.items()
    ]
    parts = [f"As of {to_the_minute(now)} UTC, in UTC."]
    if unknown:
        parts.append(bullets(unknown))
    if answer.problems:
        parts += ["What is in the staging cannot be read in full:", paragraphs(answer.problems)]
    return "\n\n".join(parts)


def coverage_page(answer: Status, now: datetime) -> str:
    """A picture of what is covered and missing, and each gap as text."""
    gaps = [
        f"{literal(name)} from {to_the_minute(gap.since)} to {to_the_minute(gap.until)}"
        for name, account in sorted(answer.accounts.items())
        for gap in account.gaps
    ]
    shown = f"coverage of {counted(len(answer.accounts), 'account')}, {counted(len(gaps), 'gap')}"
    parts = [
        f"# Coverage of the last {DAYS} days",
        f"As of {to_the_minute(now)} UTC, in UTC.",
        f"![{shown}]({coverage_picture(answer.accounts, now)})",
    ]
    if gaps:
        parts += [
            "## Gaps",
            bullets(gaps),
            "The next sync fills a gap, or its run says why it cannot.",
        ]
    return "\n\n".join(parts)


def sync_page(results: Sequence[StageResult], now: datetime) -> str | None:
    """What a sync did; None where it found nothing new and nothing failed."""
    came = _came(results)
    loaded = [result for result in results if isinstance(result, LoadResult)]
    went = [result for result in loaded if result.tried or result.pending]
    if not (came or went or any(result.problems for result in results)):
        return None
    slowest = max(results, key=lambda result: result.seconds)
    parts = [f"# Sync, {to_the_minute(now)} UTC"]
    if came:
        columns = ("account", "new", "normalized", "rejected")
        parts += ["## What came", table(columns, came)]
    if went:
        parts += ["## What went where", _outcomes(went, ("delivered", "failed", "not tried"))]
    parts.append(
        f"Slowest of {len(results):,} steps: {slowest.DONE} {literal(slowest.subject)} "
        f"in {slowest.seconds:.1f} s."
    )
    return "\n\n".join([*parts, *_remarks(results)])


def replay_page(results: Sequence[StageResult], now: datetime) -> str:
    """What a replay was asked for, its outcome, and how to go on where something is left."""
    replayed = [result for result in results if isinstance(result, LoadResult)]
    columns = ("asked", "tried", "delivered", "failed", "not tried")
    parts = [f"# Replay, {to_the_minute(now)} UTC", _outcomes(replayed, columns)]
    for result in replayed:
        if result.rest is not None:
            parts += _how_to_go_on(result.subject, result.rest)
    return "\n\n".join([*parts, *_remarks(results)])


def maintain_page(results: Sequence[StageResult], now: datetime) -> str:
    """What a maintenance did with each account, and what it left and why."""
    done = [result for result in results if isinstance(result, MaintainResult)]
    columns = list(dict.fromkeys(name for result in done for name in result.counts()))
    rows: list[list[str | int]] = [
        [literal(result.subject), *(result.counts().get(name, 0) for name in columns)]
        for result in done
        if result.counts()
    ]
    parts = [f"# {done[0].DONE.capitalize()}, {to_the_minute(now)} UTC"]
    nothing = "Nothing was done." if any(r.problems for r in done) else "There was nothing to do."
    parts.append(table(("account", *columns), rows) if rows else nothing)
    return "\n\n".join([*parts, *_remarks(results)])


def _came(results: Sequence[StageResult]) -> list[list[str | int]]:
    """Of each account with something new: events staged, normalized and rejected."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for result in results:
        if isinstance(result, ExtractResult):
            counts[result.subject] += Counter(new=result.new, rejected=result.malformed)
        elif isinstance(result, TransformResult):
            row = Counter(normalized=result.normalized, rejected=result.rejected)
            counts[result.subject] += row
    return [
        [literal(name), row["new"], row["normalized"], row["rejected"]]
        for name, row in sorted(counts.items())
        if row
    ]


def _outcomes(results: Sequence[LoadResult], columns: tuple[str, ...]) -> str:
    rows = [
        [literal(result.subject), *(getattr(result, name.replace(" ", "_")) for name in columns)]
        for result in results
    ]
    return table(("destination", *columns), rows)


def _how_to_go_on(destination: str, rest: Rest) -> list[str]:
    values = {
        "since": isoformat(rest.first),
        "until": isoformat(rest.until),
        "only": rest.only,
        "destination": destination,
    }
    return [
        f"## Go on with {literal(destination)}",
        "By the command",
        literal(rest.command(destination), None),
        "or by a run of the deployment `replay` with these values, and the others as in this run:",
        bullets([f"{name}: {literal(value)}" for name, value in values.items()]),
    ]


def _remarks(results: Sequence[StageResult]) -> list[str]:
    parts = []
    for title, kind in [
        ("What failed, and what to do", "problems"),
        ("To look at", "warnings"),
        ("Worth knowing", "notes"),
    ]:
        texts = [text for result in results for text in getattr(result, kind)]
        if texts:
            parts += [f"## {title}", paragraphs(list(dict.fromkeys(texts)))]
    return parts
