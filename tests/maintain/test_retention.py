from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tasks.notebook import staging
from tasks.reports.audit import audit_range
from tasks.reports.event_history import audit_event
from tasks.reports.export import export_to
from tasks.reports.metrics import metrics
from tasks.reports.status import status
from tasks.staging.coverage import mark_lost, read_coverage
from tasks.staging.locks import Kind, hold
from tasks.staging.raw import stage_window
from tasks.time_window import Window
from tests.load.helpers import load, replay, rows
from tests.maintain.aged import DAYS, KEPT, NOW, age, iso, maintain
from tests.reports.shown import shown
from tests.staging.staged_data import (
    at,
    broken,
    ids,
    malformed,
    normalized,
    raw,
    stage,
    transform,
    window,
)
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.staging.store import Store
    from tests.staging.rejecting_receiver import RejectingReceiver

ALL = window(0, 24 * DAYS)
OLD = DAYS - KEPT


def files(folder: Path) -> dict[str, int]:
    """Every file of a staging but locks, and when it was written."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in sorted(folder.rglob("*.parquet"))
    }


def of_alpha(store: Store) -> dict[str, Any]:
    """What status says of the account alpha."""
    found: dict[str, Any] = shown(status(store))["accounts"]["alpha"]
    return found


def test_old_days_go_and_what_was_dropped_is_known(
    store: Store, receiver: RejectingReceiver, tmp_path: Path
) -> None:
    """Status, audit, replay, export and notebooks say so; the ledger stays, and the sums agree."""
    url = receiver.url()
    all_ids = age(store)
    stage(store, window(1, 2, 0), broken(raw([("bad", at(1.5))]), "bad"))
    stage(store, window(1, 2, 0))
    transform(store)
    load(store, url)
    planned = maintain(store, url, dry_run=True)
    before = files(tmp_path)
    assert planned.days_dropped == OLD
    done = maintain(store, url)
    assert (done.days_dropped, done.problems) == (OLD, [])
    assert [note for note in done.notes[1:] if "the newest seal is" not in note] == []
    assert before.keys() - files(tmp_path).keys()
    left = [event_id for event_id in all_ids if int(event_id.split("-")[1]) >= OLD]
    assert (ids(store, "raw"), ids(store, "normalized")) == (sorted(left), sorted(left))
    assert ids(store, "rejected") == []
    assert len(rows(store)) == len(all_ids)
    found = of_alpha(store)
    assert (found["covered"], found["dropped"], found["gaps"]) == (
        [[iso(OLD), iso(DAYS)]],
        [[iso(0), iso(OLD)]],
        [],
    )
    assert f'halo_usm_dropped_seconds{{account="alpha"}} {OLD * 86_400}.0' in metrics(status(store))
    audit = audit_range(store, ALL, [destination(url)])
    assert (audit.dropped_days, audit.consistent, audit.staged) == (OLD, True, len(left))
    assert audit.destinations["rejecting"].delivered == len(left)
    assert audit_range(store, window(0, 24, OLD)).dropped_days == 0
    [note] = audit_event(store, all_ids[0]).notes
    assert f"{OLD} days of the staging are no longer staged (2026-03-01 to 2026-03-03)" in note
    again = replay(store, url, ALL, "all")
    assert (again.delivered, again.pending) == (len(left), 0)
    [problem] = again.problems
    assert f"{OLD} days of the range are no longer staged (2026-03-01 to 2026-03-03)" in problem
    assert replay(store, url, window(0, 24, OLD), "all").problems == []
    assert export_to(store, ALL, "cef", tmp_path / "out.cef") == len(left)
    here = staging(tmp_path)
    assert [*here.dropped()["until"]] == [at(0, OLD)]
    assert here.gaps().empty
    assert load(store, url).tried == 0
    stage(store, window(1, 2), [("late", at(1.5))])
    transform(store)
    assert load(store, url).tried == 1
    audit = audit_range(store, window(0, 24), [destination(url)])  # the mark is on a later day
    assert (audit.problems, audit.staged, audit.dropped_days) == ([], 1, 1)


def test_nothing_to_do_writes_nothing(
    store: Store, receiver: RejectingReceiver, tmp_path: Path
) -> None:
    """A second maintenance, and one of young days, change no file; nor does a dry run."""
    age(store)
    load(store, receiver.url())
    before = files(tmp_path)
    maintain(store, receiver.url(), dry_run=True)
    assert files(tmp_path) == before
    maintain(store, receiver.url(), days=DAYS)
    before = files(tmp_path)
    assert maintain(store, receiver.url(), days=DAYS).counts() == {}
    assert files(tmp_path) == before
    maintain(store, receiver.url())
    before = files(tmp_path)
    done = maintain(store, receiver.url())
    assert (files(tmp_path), done.counts()) == (before, {})


def test_a_run_of_dropped_days_has_one_mark(store: Store, receiver: RejectingReceiver) -> None:
    """Also where the day between two runs is dropped last. No empty folder stays."""
    url = receiver.url()
    age(store)
    load(store, url)
    normalized(store, 1, day=1, first=600)

    def marks() -> list[str]:
        return [name for name in store.files("raw", "alpha") if "-dropped-" in name]

    maintain(store, url)
    assert read_coverage(store, "alpha").dropped == [window(0, 24), window(0, 24, 2)]
    assert len(marks()) == 2
    load(store, url)
    maintain(store, url)
    assert read_coverage(store, "alpha").dropped == [window(0, 24 * OLD)]
    assert len(marks()) == 1
    maintain(store, url, days=KEPT - 1)
    assert read_coverage(store, "alpha").dropped == [window(0, 24 * (OLD + 1))]
    assert store.dates("raw", "alpha") == [at(0, day).date() for day in range(OLD, DAYS)]
    assert store.dates("normalized", "alpha") == [at(0, DAYS - 1).date()]


def test_lost_time_stays_lost(store: Store, receiver: RejectingReceiver) -> None:
    """What Halo had dropped before it was read was never there to be dropped."""
    url = receiver.url()
    stage(store, window(0, 5))
    mark_lost(store, "alpha", window(5, 6))
    stage(store, window(6, 24), [("a", at(7))])
    stage(store, window(0, 24, 1))
    transform(store)
    load(store, url)
    maintain(store, url, now=at(0, 3), days=1)
    known = read_coverage(store, "alpha")
    assert (known.covered, known.lost) == ([], [window(5, 6)])
    assert known.dropped == [window(0, 5), Window(at(6), at(24, 1))]
    assert of_alpha(store)["gaps"] == [["2026-03-01T05:00:00Z", "2026-03-01T06:00:00Z"]]


def test_what_is_still_to_be_done_is_kept_and_said(
    store: Store, receiver: RejectingReceiver
) -> None:
    """A day with a gap, one that waits for a transform, and one that is not delivered."""
    url = receiver.url()
    age(store)
    stage(store, window(1, 3, -2), [("gap", at(2, -2))])
    transform(store)
    load(store, url)
    normalized(store, 2, day=1, first=600)
    stage(store, window(4, 5, 2), [("waits", at(4.5, 2))])
    before = ids(store, "raw")
    done = maintain(store, url)
    assert (done.days_dropped, done.problems) == (1, [])
    assert [event_id for event_id in before if event_id not in ids(store, "raw")] == [
        *(f"alpha-0-{n:05}" for n in range(3)),
        "alpha-0-late",
    ]
    gap, waits, pending = (note.partition(": ")[2] for note in done.notes if " kept: " in note)
    assert gap.startswith("2026-02-27 is kept: there is a gap")
    assert waits.startswith("2026-03-03 is kept: not all is normalized")
    assert pending.startswith("2026-03-02 is kept: destination rejecting has not got 2 of")
    assert "since=2026-03-03 in its URL" in pending
    transform(store)
    assert maintain(store, f"{url}&since=2026-03-03T04:31").days_dropped == 2


def test_undelivered_events_go_only_where_it_is_said(store: Store) -> None:
    """Not without a destination, either; --drop-undelivered counts what was pending."""
    age(store)
    url = "tcp://127.0.0.1:9?name=nobody"
    done = maintain(store)
    assert (done.days_dropped, len(ids(store, "raw"))) == (0, 4 * DAYS)
    assert "USM_SENSOR is not set" in done.notes[-1]
    assert maintain(store, url).days_dropped == 0
    done = maintain(store, url, drop_undelivered=True)
    assert (done.days_dropped, done.undelivered_dropped) == (OLD, 4 * OLD)
    assert "12 pending deliveries were dropped" in done.warnings[0]
    assert len(ids(store, "raw")) == 4 * KEPT


def test_events_that_a_destination_leaves_out_do_not_hold_a_day(
    store: Store, receiver: RejectingReceiver
) -> None:
    """By what they are, before any load has noted it."""
    age(store)
    assert maintain(store, receiver.url(critical="true")).days_dropped == OLD


def test_ledgers_are_kept_for_longer(store: Store, receiver: RejectingReceiver) -> None:
    """And where events are still staged, however old, for they would be sent again."""
    url = receiver.url()
    age(store)
    load(store, url)
    done = maintain(store, url, days=DAYS - 1, ledger_days=3)
    assert (done.days_dropped, done.ledger_days_dropped) == (1, 1)
    assert store.dates("deliveries", "alpha", "rejecting") == [
        at(0, day).date() for day in range(1, DAYS)
    ]
    assert load(store, url).tried == 0
    assert audit_range(store, ALL, [destination(url)]).consistent


def test_an_event_that_appears_in_dropped_time_is_delivered(
    store: Store, receiver: RejectingReceiver
) -> None:
    """Although the ledger counts as many deliveries there as there are events now."""
    url = receiver.url()
    normalized(store, 1)
    stage(store, window(0, 24))
    stage(store, window(0, 24, 1))
    load(store, url)
    maintain(store, url, now=at(0, 3), days=2)
    found = raw([("appears", at(0))])
    stage_window(store, "alpha", window(0, 0.1), found, malformed(), "run", mark="beside")
    transform(store)
    assert load(store, url).delivered == 1
    assert receiver.received == ["alpha-0-00000", "appears"]
    assert audit_range(store, ALL, [destination(url)]).consistent
    assert maintain(store, url, now=at(0, 3), days=2).days_dropped == 1
    assert read_coverage(store, "alpha").dropped == [window(0, 24)]
    assert ids(store, "raw") == []
    # the ledger of a day that is dropped is one of a day that is over: it is compacted all the same
    done = maintain(store, url, now=at(0, 3), days=2)
    assert (done.ledger_days_compacted, done.notes[1:]) == (1, [])


def test_what_another_run_holds_is_left_to_it(store: Store, receiver: RejectingReceiver) -> None:
    """The account, or a destination: said, and no failure."""
    age(store)
    load(store, receiver.url())
    owners: list[tuple[Kind, str]] = [("account", "alpha"), ("destination", "rejecting")]
    for kind, name in owners:
        with hold(store, kind, name):
            done = maintain(store, receiver.url(), wait=0.1)
        assert (done.days_dropped, done.problems) == (0, [])
        assert f"{kind} {name} is held by another run" in done.notes[-1]
    assert maintain(store, receiver.url()).days_dropped == OLD


def test_an_account_that_is_read_no_more(store: Store, receiver: RejectingReceiver) -> None:
    """Its last day is dropped up to where it was read: a later sync goes on from there."""
    url = receiver.url()
    stage(store, window(3, 12), [("a", at(4))])
    transform(store)
    load(store, url)
    maintain(store, url)
    known = read_coverage(store, "alpha")
    assert (known.dropped, known.end, known.begin) == ([window(3, 12)], at(12), at(3))
    assert NOW - at(12) > timedelta(days=KEPT)
