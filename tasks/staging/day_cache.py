"""What was found about days that do not change, so that they are not listed again at every run.

A run asks of each day of an account whether there is anything to do. The answer comes from the
names in the day's folders, and to list years of days at every run would cost more than the run. A
folder's times change with every entry that is added or removed. So an answer is kept beside the
states of the folders that it came from, and holds while these are the same, as in git's index:

    <staging>/.cache/account=<account>/<question>.json
    <staging>/.cache/destination=<name>/account=<account>.json

It may be removed at any time: it tells nothing that names do not. Because a wrong answer would
leave an event undelivered, it holds only where there is no doubt:

- A state is taken before its folder is listed. It has the inode and the time of the last change
  (`ctime`), which nobody can set: a copy, or a folder in the place of another, has other ones.
- Only an answer of a day that is over is kept, and of folders that did not change for an hour:
  where times are coarse, a change right after the listing may leave the time as it was.
- Nothing is kept where the file system leaves a folder's time alone when an entry is added, as
  some network file systems do: that is tried whenever a file is written.
- The first run of each UTC day lists everything, for the file systems that pass this test and
  still hide a change.

On object storage folders have no states, and nothing is kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import StagingError
from tasks.staging.storage.files import faults
from tasks.staging.storage.local_files import TMP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.staging.store import Store

FOLDER = ".cache"
QUIET_NS = 3600 * 10**9
"""Nanoseconds since the last change of a folder of which an answer is kept."""
_FORMAT = 1
"""To be raised where the same names get another answer than before."""
_CHECKSUM = 65
"""Bytes of the first line."""
_LOG = logging.getLogger(__name__)

State = list[int] | None
"""Device, inode, `mtime` and `ctime` (nanoseconds) of a folder; None where there is none."""
_MTIME = 2


class DayCache:
    """The answers to one question about each day of an account.

    The caller of `save` holds the owner's lock.

    Args:
        store: The staging.
        owner: Whose lock is held: `account=…` or `destination=…`.
        name: Which question.
        parents: The folders of the account whose folders of days tell the answer.
        asked: What else the answer depends on.
        use: Whether the cache is used; if not, every day must be listed.

    Attributes:
        unchanged: The answers of the days that `must_list` found unchanged.
    """

    def __init__(
        self,
        store: Store,
        owner: str,
        name: str,
        parents: Sequence[str],
        asked: str = "",
        *,
        use: bool = True,
    ) -> None:
        self.unchanged: dict[date, Any] = {}
        self._store = store
        self._root = str(store.root) if use and store.root else None
        self._owner = owner
        self._name = f"{name}.json"
        self._parents = parents
        self._asked = f"{_FORMAT} {asked}\n".encode()
        self._now = time.time_ns()
        self._listed: dict[date, list[State]] = {}
        self._kept: dict[str, list[Any]] = {}
        self._begun, self._known = self._read() or (self._now, {})

    def must_list(self, day: date) -> bool:
        """Whether a day may have changed; the states of its folders are taken at the first call."""
        if self._root is None:
            return True
        if day not in self._listed and day not in self.unchanged:
            states = [_state(f"{self._root}/{parent}/date={day}") for parent in self._parents]
            known = self._known.get(str(day))
            if known is not None and known[1:] == states:
                self.unchanged[day] = known[0]
                self._kept[str(day)] = known
            else:
                self._listed[day] = states
        return day in self._listed

    def keep(self, day: date, answer: Any) -> None:
        """Keep the answer of a day that was listed, unless it may be about to change.

        Args:
            day: The day.
            answer: What the names of its files say, to be written as JSON.
        """
        states = self._listed.get(day)
        if states is None or day >= _utc_day(self._now):
            return
        quiet = self._now - QUIET_NS
        if all(state is None or max(state[_MTIME:]) <= quiet for state in states):
            self._kept[str(day)] = [answer, *states]

    def save(self) -> None:
        """Write what is kept, if that has changed. A failure to write it is logged."""
        if self._root is None or self._kept == self._known:
            return
        body = json.dumps([self._begun, self._kept], separators=(",", ":")).encode()
        written_in = f"{self._root}/{TMP}"
        with suppress(OSError):  # the next change has another time then, coarse as times may be
            os.utime(written_in, (0, 0))
        try:
            before = _state(written_in)
            with self._store.backend.create(f"{FOLDER}/{self._owner}", self._owner) as file:
                # there is a new entry now
                if self._tells_of_changes(before, _state(written_in)):
                    file.sink.write(self._checksum(body) + body)
                    file.name = self._name
        except StagingError as fault:
            _LOG.warning("days without changes will be listed again by the next run: %s", fault)

    def _tells_of_changes(self, before: State, after: State) -> bool:
        """Whether a new entry changed a folder's time, on the device of all that are kept."""
        if before is None or after is None or before[_MTIME] == after[_MTIME]:
            return False
        states = (state for _, *states in self._kept.values() for state in states)
        return all(state is None or state[0] == after[0] for state in states)

    def _read(self) -> tuple[int, dict[str, list[Any]]] | None:
        """When everything was listed, and what is kept since then; None where that is not today."""
        if self._root is None:
            return None
        try:
            content = Path(self._root, FOLDER, self._owner, self._name).read_bytes()
        except OSError:
            return None
        checksum, body = content[:_CHECKSUM], content[_CHECKSUM:]
        if checksum != self._checksum(body):  # damaged, or of another version or question
            return None
        begun, days = json.loads(body)
        # a time still to come was written by a wrong clock
        today = begun <= self._now and _utc_day(begun) == _utc_day(self._now)
        return (begun, days) if today else None

    def _checksum(self, body: bytes) -> bytes:
        return f"{hashlib.sha256(self._asked + body).hexdigest()}\n".encode()


def _state(folder: str) -> State:
    """The state of a folder now.

    Raises:
        StagingError: It cannot be looked at.
    """
    with faults(folder):
        try:
            found = os.stat(folder)  # noqa: PTH116 - a `Path` would take longer
        except FileNotFoundError:
            return None
    return [found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns]


def _utc_day(nanoseconds: int) -> date:
    return datetime.fromtimestamp(nanoseconds / 10**9, UTC).date()
