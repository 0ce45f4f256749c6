"""The folders of days, `date=YYYY-MM-DD`, and which of them are wanted."""

from __future__ import annotations

from datetime import date
from functools import lru_cache

from tasks.errors import StagingError
from tasks.staging.storage.files import OURS_ALONE


def every_day(day: date) -> bool:  # noqa: ARG001 - whichever it is
    """Wants the files of every day."""
    return True


def day_of_folder(parent: str, folder: str) -> date:
    """The day of a folder's name.

    Raises:
        StagingError: It is no day's.
    """
    day = _day(folder)
    if day is None:
        raise StagingError(unexpected_folder(parent, folder, "date=YYYY-MM-DD"))
    return day


def unexpected_folder(parent: str, folder: str, ours: str) -> str:
    """What is said of a folder that is not named as ours are."""
    return f"{f'{parent}/{folder}'!r} is no {ours} folder; {OURS_ALONE}"


@lru_cache(maxsize=4096)
def _day(folder: str) -> date | None:
    name, _, value = folder.partition("=")
    try:
        day = date.fromisoformat(value)
    except ValueError:
        return None
    # the first and the last year have no year before or after them
    known = date.min.year < day.year < date.max.year
    return day if known and name == "date" and day.isoformat() == value else None
