"""A staging to which everything happens that can happen to old days, by a seed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.load.destination import load_destination
from tasks.load.replay import replay_destination
from tasks.staging import coverage
from tests.maintain.aged import maintain
from tests.maintain.days import compact
from tests.staging.planning import DAYS
from tests.staging.staged_data import at, stage, transform, window
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from random import Random

    from tasks.staging.deliveries.pending import Only
    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination
    from tests.staging.rejecting_receiver import RejectingReceiver

OPTIONS: list[dict[str, str]] = [
    {"name": "all"},
    {"name": "some", "types": "server_restarted"},
    {"name": "late", "since": f"{at(5, 1):%FT%TZ}"},
    {"name": "changed", "types": "server_shutdown"},
    {"name": "changed"},
]


class ChangingStaging:
    """A staging to which things happen by a seed, beside receivers for three destinations."""

    def __init__(self, store: Store, receiver: RejectingReceiver, random: Random) -> None:
        self.store, self.random = store, random
        self.aside = Path(f"{store}-aside")
        self.aside.mkdir()
        self.numbers = iter(range(10**6))
        self.sensors = [destination(receiver.url(**options)) for options in OPTIONS]
        self.moved: list[tuple[Path, Path]] = []

    def something(self) -> str:
        """Let something happen; what it was."""
        change = self.random.choice(
            [
                self.late,
                self.late,
                self.transform,
                self.load,
                self.load,
                self.replay,
                self.anew,
                self.remove,
                self.move_out,
                self.move_back,
                self.swap,
                self.backdate,
                self.compact,
                self.drop,
                self.mark,
                self.killed,
            ]
        )
        change()
        return change.__name__

    @property
    def _day(self) -> int:
        return self.random.randrange(DAYS)

    @property
    def _sensor(self) -> Destination:
        return self.random.choice(self.sensors)

    def late(self) -> None:
        """An event appears late in a day that was read."""
        day = self._day
        stage(self.store, window(0, 24, day), [(f"late{next(self.numbers)}", at(5.5, day))])

    def transform(self) -> None:
        """What waits is normalized."""
        transform(self.store)

    def load(self) -> None:
        """One destination gets what it has not got."""
        load_destination(self.store, self._sensor, run_id="run", pauses=())

    def replay(self) -> None:
        """A day is delivered again."""
        only: list[Only] = ["all", "failed", "undelivered"]
        where, chosen = window(0, 24, self._day), self.random.choice(only)
        replay_destination(self.store, self._sensor, where, only=chosen, run_id="run", pauses=())

    def anew(self) -> None:
        """A part of a day is normalized anew."""
        transform(self.store, anew=window(1, 2, self._day))

    def compact(self) -> None:
        """Days are compacted."""
        compact(self.store, *self.sensors[:-1])

    def drop(self) -> None:
        """Old days are dropped."""
        maintain(self.store, days=self.random.choice([1, 3]), drop_undelivered=True)

    def mark(self) -> None:
        """A part of a day is lost."""
        coverage.mark_lost(self.store, "alpha", window(3, 4, self._day))

    def killed(self) -> None:
        """A transform was killed before it published a normalized file."""
        day = at(0, self._day).date()
        if names := self.store.files("raw", "alpha", day):
            folder = Path(str(self.store)) / self.store.folder("rejected", "alpha", day)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{Path(self.random.choice(names)).stem}-g9-1.parquet").touch()

    def remove(self) -> None:
        """Somebody removes a file."""
        if files := [*Path(str(self.store)).glob("[!.]*/**/*.parquet")]:
            self.random.choice(files).unlink()

    def move_out(self) -> None:
        """Somebody moves a day elsewhere."""
        if found := [*Path(str(self.store)).glob("[!.]*/**/date=*")]:
            folder = self.random.choice(found)
            self.moved.append((folder.rename(self.aside / str(next(self.numbers))), folder))

    def move_back(self) -> None:
        """And copies it back."""
        if self.moved:
            aside, folder = self.moved.pop()
            shutil.copytree(aside, folder, dirs_exist_ok=True)

    def swap(self) -> None:
        """Two days of ledgers take each other's place."""
        found = [*Path(str(self.store)).glob("deliveries/*/*/date=*")]
        if found:
            one, other = self.random.choices(found, k=2)
            one.rename(self.aside / "swapped")
            if one != other:
                other.rename(one)
            (self.aside / "swapped").rename(other)

    def backdate(self) -> None:
        """As a copy into place does that keeps times."""
        folders = [*Path(str(self.store)).glob("[!.]*/**/date=*")]
        times = [(folder, folder.stat()) for folder in folders]
        self.random.choice([self.late, self.load, self.remove])()
        for folder, before in times:
            os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))
