"""Writes the small staging that ships, `data/sample`, to look at: `python -m tests.sample`.

Two made-up accounts over two days of March 2026, from the stand-in through the real pipeline to a
receiver on loopback.
"""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from flows import pipeline
from flows.context import prepare
from flows.runner import ThreadRunner
from sandbox.halo_api import Clock, HaloStandIn
from sandbox.receiver import Receiver
from tasks.time_window import Window
from tests.documents import ROOT

SAMPLE = ROOT / "data" / "sample"
RANGE = Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC))
"""The days of its events."""


def write(folder: Path) -> None:
    """Write the sample into a new folder."""
    clock = Clock(at=RANGE.until)
    with (
        tempfile.TemporaryDirectory() as elsewhere,
        HaloStandIn(accounts=2, events=240, days=2, clock=clock, date=False) as halo,
        Receiver("tcp") as receiver,
    ):
        settings = {
            "halo_api_url": halo.url,
            "halo_auth_file": halo.write_auth(Path(elsewhere) / "auth"),
            "halo_staging": str(folder),
            "usm_sensor": receiver.url("tcp", name="sensor"),
        }
        work = prepare(flags=settings, accounts=True, sensors=True)
        results = pipeline.extract(work, ThreadRunner(), RANGE)
        results += pipeline.transform(work, ThreadRunner())
        results += pipeline.load(work, ThreadRunner())
    problems = [problem for result in results for problem in result.problems]
    if problems:
        raise RuntimeError("\n".join(problems))
    for leftover in (".locks", ".tmp"):
        shutil.rmtree(folder / leftover, ignore_errors=True)


if __name__ == "__main__":
    if SAMPLE.exists():
        shutil.rmtree(SAMPLE)
    write(SAMPLE)
