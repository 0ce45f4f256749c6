from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tasks.staging.coverage import read_coverage
from tasks.time_window import Window
from tests.extract.harness import NOW as TODAY
from tests.extract.harness import START, Harness, event, events
from tests.maintain.aged import maintain
from tests.staging.staged_data import (
    transform,
)

if TYPE_CHECKING:
    from sandbox.halo_api import HaloStandIn


def test_dropped_time_is_not_fetched_anew(halo: HaloStandIn, harness: Harness) -> None:
    """By no sync, however deep, by no range, and not where a sync begins earlier."""
    halo["alpha"].add(events(60, START, TODAY))
    harness.sync()
    transform(harness.store)
    done = maintain(harness.store, now=TODAY, days=1, drop_undelivered=True)
    assert done.days_dropped == 2
    known = read_coverage(harness.store, "alpha")
    dropped = Window(START, TODAY.replace(hour=0) - timedelta(days=1))
    assert known.dropped == [dropped]
    halo["alpha"].add([event(1000 + n, START + timedelta(hours=n)) for n in range(72)])
    late = [harness.sync(lookback=90 * 24 * 60), harness.sync(window=Window(START, TODAY))]
    assert late[0].new == (TODAY - dropped.until) / timedelta(hours=1)
    assert (late[1].new, late[1].problems) == (0, [])
    assert "2 days of the range are no longer staged" in late[1].notes[0]
    assert harness.sync(window=Window(START, START + timedelta(hours=5))).windows == 0
    harness.settings = harness.settings.model_copy(update={"halo_start": START - timedelta(days=1)})
    assert harness.sync().new == 0
    assert harness.sync(window=Window(START - timedelta(days=1), TODAY)).windows
    known = read_coverage(harness.store, "alpha")
    assert (known.begin, known.dropped) == (START - timedelta(days=1), [dropped])
    assert min(known.covered) == Window(START - timedelta(days=1), START)
