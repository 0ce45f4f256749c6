"""Stagings as years of syncs leave them, made in seconds.

Two days are made sync by sync with the product's own functions: the oldest and the newest, those
that commands open. The days between them are hard links to the oldest day's files, under the same
names: to commands that go by names they are as good as any. `tests.staging.test_grown_staging`
holds the files against those of real syncs.
"""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sandbox.receiver import Receiver
from tasks.maintain.compaction import compact_account
from tasks.maintain.maintenance_run import MaintenanceRun
from tasks.staging.known_ids import FOLDER, KnownIds, id_hashes
from tasks.staging.raw import stage_window
from tasks.staging.store import open_store
from tasks.time_window import Window
from tests.load.helpers import load
from tests.staging.staged_data import MALFORMED, realistic, transform

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    import numpy.typing as npt

    from tasks.staging.store import Store

SYNC = timedelta(minutes=5)
SYNCS = timedelta(days=1) // SYNC
EVENTS = 10
"""New events of a sync."""
DESTINATION = "sensor"
_ACCOUNT = "made"


def syncs(store: Store, account: str, since: datetime, count: int) -> None:
    """Stage, normalize and deliver some events of every five minutes, as so many syncs do."""
    ids = KnownIds(store, account)
    for number in range(count):
        window = Window(since + number * SYNC, since + (number + 1) * SYNC)
        events = realistic(EVENTS, window.since, window.until, account)
        none = MALFORMED.empty_table()
        stage_window(store, account, window, events, none, "run", window.until, ids=ids)
    ids.save()
    transform(store, account)
    with Receiver("tcp", keep=False) as receiver:
        # a batch is what one sync had to deliver
        sensor = receiver.url("tcp", name=DESTINATION, batch=EVENTS)
        assert load(store, sensor).delivered == EVENTS * count


class GrownStaging:
    """Makes stagings of one day, and of many.

    Args:
        folder: Where days are made; on the disk of the stagings, for files are links to these.
        days: The days of a grown staging, oldest first.
    """

    def __init__(self, folder: Path, days: Sequence[date]) -> None:
        self.days = days
        self._made = open_store(str(folder / "made"))
        self._compacted = open_store(str(folder / "compacted"))
        for day in (days[0], days[-1]):
            with mock.patch("os.fsync"):  # it would take most of the time
                syncs(self._made, _ACCOUNT, Window.of_day(day).since, SYNCS)
        shutil.copytree(folder / "made", folder / "compacted")
        over = Window.of_day(days[0]).until
        run = MaintenanceRun(self._compacted, _ACCOUNT, [], over, lookback=timedelta(0))
        done = compact_account(run, grace=0)
        assert (done.days, done.ledgers) == (1, 1)

    def newest(self, to: Path, account: str = "alpha") -> None:
        """Make an account of the newest day."""
        self._grow(self._made, to, account, self.days[-1:])

    def unmaintained(self, to: Path, account: str = "alpha") -> None:
        """Make an account of all days, as syncs leave them."""
        self._grow(self._made, to, account, self.days)

    def maintained(self, to: Path, account: str = "alpha") -> None:
        """Make an account of all days, all but the newest of them compacted."""
        self._grow(self._compacted, to, account, self.days)

    def _grow(self, made: Store, to: Path, account: str, days: Sequence[date]) -> None:
        real = {days[0], days[-1]}
        for stage, destination in (("raw", ""), ("normalized", ""), ("deliveries", DESTINATION)):
            ours = Path(str(made)) / made.folder(stage, _ACCOUNT, destination=destination)
            theirs = to / made.folder(stage, account, destination=destination)
            for day in days:
                if day in real:  # copied, for a file may not have links without number
                    shutil.copytree(ours / f"date={day}", theirs / f"date={day}")
                else:
                    _link(theirs / f"date={days[0]}", theirs / f"date={day}")
        self._keep_hashes(made, to, account, days)

    def _keep_hashes(self, made: Store, to: Path, account: str, days: Sequence[date]) -> None:
        """Write what extraction keeps of ids; in files that are links they are made up."""
        random = np.random.default_rng(0)
        rows: list[tuple[str, npt.NDArray[np.uint64]]] = []
        hashes = {day: self._hashes(made, day) for day in (days[0], days[-1])}
        for day in days:
            for name, known in hashes.get(day, hashes[days[0]]).items():
                made_up = random.integers(2**63, size=len(known), dtype=np.uint64)
                rows.append((f"{day}/{name}", known if day in hashes else made_up))
        files, ids = zip(*rows, strict=True)
        ends = np.cumsum([0, *map(len, ids)])
        lists = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(np.concatenate(ids)))
        (to / FOLDER).mkdir(exist_ok=True)
        table = pa.table({"file": pa.array(files), "ids": lists})
        pq.write_table(table, to / FOLDER / f"account={account}.parquet", compression="none")

    @staticmethod
    @cache
    def _hashes(made: Store, day: date) -> dict[str, npt.NDArray[np.uint64]]:
        folder = made.folder("raw", _ACCOUNT, day)
        return {
            name: id_hashes(made.read(f"{folder}/{name}", ["event_id"])["event_id"])
            for name in made.files("raw", _ACCOUNT, day)
        }


def _link(files: Path, folder: Path) -> None:
    folder.mkdir()
    with os.scandir(files) as entries:
        for entry in entries:
            os.link(entry.path, f"{folder}/{entry.name}")
