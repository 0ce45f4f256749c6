"""The options of a sensor URL, read by type."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tasks.errors import SettingsError, explain
from tasks.redaction import HIDDEN, LONGEST_PATH, foreign_text
from tasks.time_window import parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

# With "destination=" in front a folder's name stays below 255 bytes, as file systems want it.
_MAX_NAME = 200


class OptionReader:
    """Options by type; every refusal names the sensor, the option, its value and what is right.

    Args:
        options: By name.
        here: The sensor, for messages.
        base: Where relative paths start from.

    Raises:
        SettingsError: From every method: the option cannot be used.
    """

    def __init__(self, options: Mapping[str, str], here: str, base: Path) -> None:
        self._options = options
        self._here = here
        self._base = base

    def error(self, option: str, wanted: str) -> SettingsError:
        """What is said of an option that cannot be used: its value, and what it takes."""
        value = self._options.get(option, "")
        return SettingsError(
            f"{self._here}: {option}='{foreign_text(value)}' cannot be used; it takes {wanted}"
        )

    def text(self, option: str) -> str | None:
        """An option as it is; None where it is not given."""
        return self._options.get(option)

    def name(self, other: str) -> str:
        """`name=`, a folder of the ledger; `other` where it is not given."""
        value = self._options.get("name")
        if value is None:
            return other[:_MAX_NAME]
        if not re.fullmatch(rf"[A-Za-z0-9_-]{{1,{_MAX_NAME}}}", value):
            wanted = f"1 to {_MAX_NAME} characters of A-Z a-z 0-9 _ - (it becomes a folder)"
            raise self.error("name", wanted)
        return value

    def choice(self, option: str, choices: Mapping[str, int] | tuple[str, ...], other: str) -> str:
        """One of some words, in lower case."""
        value = self._options.get(option, other).lower()
        if value not in choices:
            raise self.error(option, ", ".join(choices))
        return value

    def whole(self, option: str, other: int, most: int) -> int:
        """A whole number from 1 to `most`."""
        value = self._options.get(option)
        if value is None:
            return other
        if not re.fullmatch(r"[0-9]{1,9}", value) or not 1 <= int(value) <= most:
            raise self.error(option, f"a whole number, 1 to {most}")
        return int(value)

    def number(self, option: str, most: float) -> float | None:
        """A number above 0 and up to `most`; None where it is not given."""
        value = self._options.get(option)
        if value is None:
            return None
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", value) or not 0 < float(value) <= most:
            raise self.error(option, f"a number above 0 and up to {most:g}")
        return float(value)

    def time(self, option: str) -> datetime | None:
        """A time; None where it is not given."""
        value = self._options.get(option)
        if value is None:
            return None
        wanted = (
            "an ISO 8601 time such as 2026-01-31, 2026-01-31T12:00 or 2026-01-31T12:00:00+02:00"
        )
        try:
            return parse_time(value)
        except SettingsError:
            raise self.error(option, wanted) from None

    def file(self, option: str, *, folder: bool = False) -> Path | None:
        """The path of a file that is there, or of a folder; None where it is not given."""
        value = self._options.get(option)
        if value is None:
            return None
        path = self._base / value
        shown = HIDDEN if "-----BEGIN" in value else foreign_text(path, LONGEST_PATH)
        try:
            there = path.is_file() or (folder and path.is_dir())
        except OSError as error:
            raise SettingsError(f"{self._here}: {option}=: {explain(error)}") from None
        if not there:
            raise SettingsError(
                f"{self._here}: {option}= names no file at {shown}; correct the path (a relative "
                "one starts from the settings file's folder)"
            )
        return path
