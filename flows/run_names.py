"""Names of flow runs: what a run does, and for when, in UTC.

A run gets its name as it begins, also one that a schedule or a form has created.
"""

from __future__ import annotations

from datetime import UTC, datetime, time

from prefect.runtime import flow_run

from tasks.errors import SettingsError
from tasks.redaction import foreign_text
from tasks.time_window import parse_time

_LONGEST = 40
"""Characters that are shown of a parameter that cannot be used."""


def named_by_time() -> str:
    """Such as `sync 2026-11-24 19:05`: the flow and the time for which the run was scheduled."""
    dry_run = " dry run" if flow_run.parameters.get("dry_run") is True else ""
    return f"{flow_run.flow_name}{dry_run} {_scheduled()}"


def named_by_range() -> str:
    """Such as `replay all 2026-11-22 to 2026-11-23 sensor`: which events, of when, where to."""
    given = flow_run.parameters
    since, until, sensors = given.get("since"), given.get("until"), given.get("sensors")
    words = [
        flow_run.flow_name,
        "dry run" if given.get("dry_run") is True else "",
        given.get("only"),
        _moment(since),
        "to",
        _moment(until) if until else _scheduled(),
        given.get("destination"),
        *(sensors if isinstance(sensors, list) else []),
    ]
    return " ".join(foreign_text(word, _LONGEST) for word in words if word)


def _scheduled() -> str:
    return _shown(flow_run.scheduled_start_time)


def _moment(value: object) -> str:
    """A parameter, as it was given: it is checked by the flow itself."""
    try:
        return _shown(parse_time(str(value)))
    except SettingsError:
        return str(value)


def _shown(moment: datetime) -> str:
    moment = moment.astimezone(UTC)
    return f"{moment:%Y-%m-%d}" if moment.time() == time() else f"{moment:%Y-%m-%d %H:%M}"
