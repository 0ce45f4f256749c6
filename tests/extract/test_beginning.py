"""Where an account begins: at HALO_START, by its first sync, whatever was extracted before."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sandbox import faults
from tasks.staging.names import file_names
from tasks.time_window import Window
from tests.extract.harness import BRIEF, MINUTE, NOW, START, Harness, events
from tests.flows.command import command_for

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.halo_api import HaloStandIn

DAY = timedelta(days=1)
MIDDLE = Window(START + DAY, START + 2 * DAY)


def test_an_extract_is_no_first_sync(halo: HaloStandIn, harness: Harness) -> None:
    """What lies before an extracted range is read by the first sync, and the range not again."""
    halo["alpha"].add(events(300, START, NOW))
    assert harness.sync(window=MIDDLE).new == 100
    result = harness.sync()
    assert (result.new, result.problems, result.notes) == (200, [], [])
    # nothing but the look before where the range ended
    assert result.known < 5
    harness.assert_exact()
    assert harness.coverage() == [Window(START, NOW)]


def test_an_extract_of_the_whole_history_leaves_nothing_to_the_first_sync(
    halo: HaloStandIn, harness: Harness
) -> None:
    """A history that is covered is not read twice; from then on the beginning is fixed."""
    halo["alpha"].add(events(300, START - DAY, NOW))
    harness.sync(window=Window(START, NOW))
    halo.reset_counters()
    harness.sync()
    assert halo.counters.requests == 2, "one login, one listing"
    harness.settings = harness.settings.model_copy(update={"halo_start": START - DAY})
    harness.sync()
    assert harness.coverage() == [Window(START, NOW)]


@pytest.mark.parametrize("extracted", [True, False])
def test_the_first_sync_fixes_the_beginning(
    halo: HaloStandIn, harness: Harness, *, extracted: bool
) -> None:
    """The default of 90 days ago moves along: it opens no gap, and nothing older is read."""
    harness.settings = harness.settings.model_copy(update={"halo_start": None})
    halo["alpha"].add(events(300, START, NOW))
    if extracted:
        harness.sync(window=MIDDLE)
    harness.sync()
    covered = [Window(NOW - 90 * DAY, NOW)]
    assert harness.coverage() == covered
    files = harness.files()
    halo.reset_counters()
    harness.sync()
    assert halo.counters.requests == 2, "one login, one listing"
    assert harness.files() == files
    harness.settings = harness.settings.model_copy(update={"halo_start": NOW - 95 * DAY})
    harness.sync()
    halo.clock.advance(5 * DAY)
    harness.settings = harness.settings.model_copy(update={"halo_start": None})
    assert harness.sync().problems == []
    assert harness.coverage() == [Window(NOW - 90 * DAY, NOW + 5 * DAY)]
    harness.assert_exact()


def test_a_first_sync_that_fails_in_part_has_begun(halo: HaloStandIn, harness: Harness) -> None:
    """Where it was to begin stays a gap, which a later sync fills though its start is later."""
    halo["alpha"].add(events(300, START, NOW))
    harness.sync(window=MIDDLE)
    halo.fail(faults.status(500), since=START, until=START + 2 * MINUTE, times=None)
    assert len(harness.sync(retry_policy=BRIEF).problems) == 1
    halo.heal()
    harness.settings = harness.settings.model_copy(update={"halo_start": START + DAY / 2})
    harness.sync()
    harness.assert_exact()
    assert harness.coverage() == [Window(START, NOW)]


def test_a_first_sync_that_reads_nothing_has_not_begun(halo: HaloStandIn, harness: Harness) -> None:
    """Where nothing at all could be read, the next sync is the first one again."""
    halo["alpha"].add(events(300, START, NOW))
    harness.sync(window=MIDDLE)
    halo.fail(faults.status(500), times=None)
    assert harness.sync(retry_policy=BRIEF).problems
    halo.heal()
    harness.sync()
    harness.assert_exact()


def test_several_extracts_are_no_first_sync_either(halo: HaloStandIn, harness: Harness) -> None:
    """Ranges in any order, before the start too: the first sync reads what lies between them."""
    halo["alpha"].add(events(500, START - 2 * DAY, NOW))
    harness.sync(window=MIDDLE)
    harness.sync(window=Window(NOW - DAY / 2, NOW - DAY / 4))
    harness.sync(window=Window(START - 2 * DAY, START - DAY))
    harness.sync()
    harness.assert_exact()
    assert harness.coverage() == [Window(START - 2 * DAY, NOW)]


def test_an_account_of_an_earlier_version_has_begun(halo: HaloStandIn, harness: Harness) -> None:
    """Coverage without any mark of where it begins was synced: nothing older is read."""
    halo["alpha"].add(events(300, START, NOW))
    harness.sync()
    for day, names in harness.store.names_by_day("raw", "alpha").items():
        for file in file_names.raw_files(names):
            if file.mark:
                harness.store.remove(f"{harness.store.folder('raw', 'alpha', day)}/{file.name}")
    harness.settings = harness.settings.model_copy(update={"halo_start": START - DAY})
    halo.clock.advance(5 * MINUTE)
    harness.sync()
    assert harness.coverage() == [Window(START, NOW + 5 * MINUTE)]


def test_a_start_before_the_beginning_is_said_and_not_read(
    halo: HaloStandIn, harness: Harness
) -> None:
    """A setting that comes too late says so with the command that reads the time before."""
    halo["alpha"].add(events(400, START - DAY, NOW))
    assert harness.sync().notes == []
    harness.settings = harness.settings.model_copy(update={"halo_start": START - DAY})
    (note,) = harness.sync().notes
    assert "account alpha" in note
    assert "begins at 2026-03-01T12:00:00Z" in note
    assert "`halo-usm extract --since 2026-02-28T12:00:00Z --until 2026-03-01T12:00:00Z`" in note
    assert harness.sync(window=Window(START - DAY, START)).notes == []
    harness.assert_exact()
    assert harness.sync().notes == []
    harness.settings = harness.settings.model_copy(update={"halo_start": None})
    halo.clock.advance(DAY)
    assert harness.sync().notes == []


@pytest.mark.parametrize(
    ("command", "settings", "message"),
    [
        (["sync"], {"HALO_START": "0026-03-01"}, "HALO_START: '0026-03-01': there was no Halo bef"),
        (["sync", "--starting", "9999-01-01"], {}, "'9999-01-01': it is in the future"),
        (["extract", "--since", "0001-01-01"], {}, "--since 0001-01-01T00:00:00Z: there was no H"),
        (["extract", "--since", "2009-12-31", "--until", "2026-01-01"], {}, "before 2010"),
        (["extract", "--since", "9998-01-01", "--until", "9999-01-01"], {}, "is in the future, by"),
    ],
)
def test_a_time_of_which_halo_has_nothing_is_refused(
    halo: HaloStandIn, tmp_path: Path, command: list[str], settings: dict[str, str], message: str
) -> None:
    """A mistyped year ends in one message and exit code 2, and touches nothing."""
    halo_usm = command_for(tmp_path, halo, "udp://127.0.0.1:9")
    halo_usm.settings |= settings
    assert message in halo_usm(*command, code=2).stderr
    assert not (tmp_path / "staging").exists()
    assert halo.counters.requests == 0


def test_commands_that_ask_the_staging_take_any_range(halo: HaloStandIn, tmp_path: Path) -> None:
    """All time there is costs no more than the days that are staged."""
    halo_usm = command_for(tmp_path, halo, "udp://127.0.0.1:9")
    always = ["--since", "0001-01-01", "--until", "9999-12-31"]
    for command in (["audit"], ["transform"], ["replay"], ["export", "--format", "cef"]):
        halo_usm(*command, *always)
