"""What brings back what a damaged file of the staging had: the advice that messages give."""

from __future__ import annotations

import re
from datetime import date, timedelta

from tasks.halo_history import HALO_KEEPS
from tasks.staging.names import file_names
from tasks.time_window import Window, isoformat

_DAY = re.compile(r"/date=(\d{4}-\d{2}-\d{2})/", re.ASCII)
_ALL_THAT_HALO_KEEPS = HALO_KEEPS // timedelta(minutes=1)


def how_to_repair(path: str) -> str:
    """What to do about a file that cannot be read, by its path in the staging."""
    tree, name = path.partition("/")[0], path.rpartition("/")[2]
    if tree == "deliveries":
        return "restore it, or move it out of the staging: its events are then sent again"
    if tree == "rejected" and name.startswith("extract-"):
        # what has no date lies in the day of its extraction, and may be older
        return (
            "restore it, or move it out of the staging and run "
            f"`halo-usm sync --lookback {_ALL_THAT_HALO_KEEPS}`, which reads again what Halo keeps"
        )
    if tree == "raw":
        return (
            f"restore it, or move it out of the staging and run `halo-usm extract{_range(path)}`, "
            "which stages its range again"
        )
    return f"restore it, or run `halo-usm transform{_range(path)}`, which replaces it"


def _range(path: str) -> str:
    """The options that name the range a file is about."""
    found = _DAY.search(path)
    if found is None:
        return ""
    day = date.fromisoformat(found[1])
    window = file_names.window_of(path.rpartition("/")[2], day) or Window.of_day(day)
    return f" --since {isoformat(window.since)} --until {isoformat(window.until)}"
