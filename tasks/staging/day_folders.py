"""The folders of days, `date=YYYY-MM-DD`, and which of them are wanted."""

from __future__ import annotations

from datetime import date
from functools import lru_cache


def every_day(day: date) -> bool:  # noqa: ARG001 - whichever it is
    """Wants the files of every day."""
    return True


@lru_cache(maxsize=4096)
def day_of_folder(folder: str) -> date | None:
    """The day of a folder's name; None where it is no day's."""
    name, _, value = folder.partition("=")
    try:
        day = date.fromisoformat(value)
    except ValueError:
        return None
    # the first and the last year have no year before or after them
    known = date.min.year < day.year < date.max.year
    return day if known and name == "date" and day.isoformat() == value else None
