"""`halo-usm check`: whether everything a sync needs is usable, line by line; sends no event."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.errors import HaloUsmError
from tasks.settings import read_accounts
from tasks.staging.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.settings import Settings


class _Checks:
    """Runs checks and prints a line for each; remembers whether all went well."""

    def __init__(self) -> None:
        self.well = True

    def run[T](self, what: str, check: Callable[[], T], say: Callable[[T], str]) -> T | None:
        try:
            answer = check()
        except HaloUsmError as error:
            self.well = False
            print(f"FAIL {what}: {error}")
            return None
        print(f"ok   {what}: {say(answer)}")
        return answer
