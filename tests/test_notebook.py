"""What notebooks build on: `tasks.notebook`, and the notebooks that ship."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from tasks.errors import SettingsError
from tasks.notebook import CATEGORIES, Staging, staging
from tasks.staging import day_files
from tasks.staging.names import file_names
from tasks.staging.store import open_store
from tests.notebooks import NOTEBOOKS, run
from tests.sample import ACCOUNTS, GAP, SAMPLE

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = 2_057
TUESDAY = date(2026, 3, 3)


@pytest.fixture
def sample() -> Staging:
    """The staging that ships."""
    return staging(SAMPLE)


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs(file: Path) -> None:
    """Every cell of a notebook that ships runs, and it is kept with what its cells show."""
    assert any(cell.get("outputs") for cell in run(file).cells)
    assert '"outputs": [\n    {' in file.read_text(encoding="utf-8")


def test_a_range_is_half_open_and_takes_any_kind_of_time(sample: Staging) -> None:
    """Text, dates and times mean the same; without an offset they are UTC; days add up."""
    times = sample.events(columns=["created_at"])["created_at"]
    tuesday = ((times >= "2026-03-03T00:00Z") & (times < "2026-03-04T00:00Z")).sum()
    until = datetime(2026, 3, 4, tzinfo=UTC)
    others = pd.Timestamp("2026-03-03T01:00+01:00"), np.datetime64("2026-03-03")
    for since in (TUESDAY, "2026-03-03", *others):
        assert len(sample.events(since, until)) == tuesday
    assert len(sample.events(until=TUESDAY)) + tuesday + len(sample.events(until)) == EVENTS
    first = times.min()
    assert len(sample.events(first, first + timedelta(microseconds=1))) == 1


def test_types(sample: Staging) -> None:
    """Accounts are text, repeated text is a category, and a port that may be missing is whole."""
    events = sample.events()
    assert sample.events(columns="account").equals(events[["account"]])
    assert set(events["account"]) == set(ACCOUNTS)
    assert {n for n in events if isinstance(events[n].dtype, pd.CategoricalDtype)} <= CATEGORIES
    assert events["source_port"].dtype == "Int32"
    nothing = sample.events("2030-01-01")
    assert nothing.empty
    assert list(nothing.dtypes.map(str)) == list(events.dtypes.map(str))


def test_last_attempts(sample: Staging) -> None:
    """One row an event and destination, that of the highest attempt."""
    attempts = sample.deliveries()
    last = sample.deliveries(columns=["destination", "account", "status"], last=True)
    assert len(attempts) > len(last) == 2 * EVENTS
    highest = attempts.sort_values("attempt").drop_duplicates(
        ["event_id", "destination"], keep="last"
    )
    by = ["destination", "account", "status"]
    assert last.groupby(by).size().to_dict() == highest.groupby(by).size().to_dict()


def test_what_is_replaced_does_not_count(tmp_path: Path) -> None:
    """Neither an older generation of normalized events, nor events whose raw file is gone."""
    shutil.copytree(SAMPLE, tmp_path / "staging")
    store = open_store(str(tmp_path / "staging"))
    account = ACCOUNTS[0]
    [file] = day_files.current_files(store, account, TUESDAY)
    folder = tmp_path / "staging" / store.folder("normalized", account, TUESDAY)
    anew = file_names.normalized_name(file.key, file.generation + 1, file.rows, lost=0)
    shutil.copy(folder / file.name, folder / anew)
    ours = staging(str(tmp_path / "staging"))
    assert len(ours.events()) == EVENTS
    raw = tmp_path / "staging" / store.folder("raw", account, TUESDAY)
    (raw / f"{file.key}.parquet").unlink()
    assert len(ours.events()) == len(ours.raw()) == EVENTS - file.rows


def test_coverage_gaps_and_rejected(sample: Staging) -> None:
    """As `status` has them; what has no date is of the day it was rejected on."""
    [gap] = sample.gaps().to_dict("records")
    assert (gap["account"], gap["until"]) == (ACCOUNTS[1], GAP.until)
    assert len(sample.coverage()) == 3
    assert len(sample.rejected()) == len(sample.rejected("2026-03-06", "2026-03-07")) == 3


def test_faults_are_named(sample: Staging, tmp_path: Path) -> None:
    """A folder without a staging, a column that there is not, and a backward range."""
    with pytest.raises(SettingsError, match="nothing is staged in"):
        staging(str(tmp_path))
    with pytest.raises(SettingsError, match="no column sourceaddress; there are account"):
        sample.events(columns=["sourceaddress"])
    with pytest.raises(SettingsError, match="empty or backward"):
        sample.events("2026-03-04", "2026-03-03")
    with pytest.raises(SettingsError, match="since: 'Tuesday' is no ISO 8601 time"):
        sample.events("Tuesday")


def test_without_a_name_it_is_the_staging_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for every command."""
    monkeypatch.setenv("HALO_STAGING", str(SAMPLE))
    assert repr(staging()) == f"staging({str(SAMPLE)!r})"
