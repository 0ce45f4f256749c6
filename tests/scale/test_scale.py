"""The model of `docs/scale.md`: held against itself, and against real syncs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.scale.measure import INTERVAL, Run, import_pyarrow, run
from tests.scale.model import (
    SITES,
    Constants,
    Cost,
    Site,
    cost,
    fewest_workers,
    recorded_import_pyarrow,
    scheduled,
)

ACCOUNTS, FEW, MANY = 20, 200, 1500


def test_more_of_anything_never_costs_less() -> None:
    """More events, accounts and sensors cost more; more workers take no longer."""
    one = Constants.recorded()
    for site in SITES:
        here = cost(site, one)
        for more in (
            replace(site, rate=2 * site.rate),
            replace(site, accounts=2 * site.accounts, rate=2 * site.rate),
            replace(site, destinations=site.destinations + 1),
        ):
            there = cost(more, one)
            assert there.cpu > here.cpu
            assert there.calls >= here.calls
            assert there.seconds >= here.seconds
        assert cost(replace(site, workers=2), one).seconds <= here.seconds


def test_steps_are_put_where_it_is_free_first() -> None:
    """A long step beside short ones; no slot is idle while a step waits."""
    assert scheduled([3, 1, 1, 1], 2) == 3
    assert scheduled([1] * 10, 3) == 4
    assert scheduled([], 2) == 0


def test_the_fewest_workers_keep_up_and_one_less_does_not() -> None:
    """With 1,000 accounts and 10,000 events a second, too."""
    one = Constants.recorded()
    site = Site(1000, 10_000, lookback=60, batch=10_000)
    fewest = fewest_workers(site, one)
    assert fewest is not None
    enough, fewer = (replace(site, workers=number) for number in (fewest, max(fewest - 1, 1)))
    assert cost(enough, one).keeps_up(enough)
    assert fewest == 1 or not cost(fewer, one).keeps_up(fewer)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_the_model_against_real_syncs_of_twenty_accounts() -> None:
    """API calls within 10 %, bytes within 25 %, files within 10 %, CPU within a factor of 2.

    The recorded CPU is that of another machine: it is scaled by what `import pyarrow` takes here
    and took there. A command's start is not in the model, so two syncs are compared.
    """
    few, many = run(ACCOUNTS, FEW), run(ACCOUNTS, MANY)
    predicted, fewer = predict(many), predict(few)
    assert many.calls == pytest.approx(predicted.calls, rel=0.1)
    assert many.staged == pytest.approx(predicted.staged, rel=0.25)
    assert many.files == pytest.approx(predicted.files, rel=0.1)
    cpu = sum(many.cpu.values()) - sum(few.cpu.values())
    cpu -= many.cpu["again"] - few.cpu["again"]
    expected = (predicted.cpu - fewer.cpu) * import_pyarrow() / recorded_import_pyarrow()
    print(f"calls {many.calls} ({predicted.calls:.0f}), bytes {many.staged}", end=" ")
    print(f"({predicted.staged:.0f}), files {many.files} ({predicted.files:.0f}),", end=" ")
    print(f"CPU {cpu:.2f} ({expected:.2f})")
    assert 0.5 < cpu / expected < 2


def predict(found: Run) -> Cost:
    """What the model says of a site with as many events, new and listed again, as a run had."""
    seconds = INTERVAL.total_seconds()
    rate = found.new / seconds
    site = Site(ACCOUNTS, rate, seconds, (found.listed - found.new) / rate)
    return cost(site, replace(Constants.recorded(), cpu_step=0.0))
