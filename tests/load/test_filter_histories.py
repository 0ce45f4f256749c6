"""Filters that change from run to run: the sums stay exact, whatever happens in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tasks.load.replay_plan import plan_replay
from tasks.staging.store import open_store
from tests.load.filtered import LOGINS, counted, events
from tests.load.helpers import load, replay
from tests.staging.rejecting_receiver import RejectingReceiver
from tests.staging.staged_data import at, stage, transform, window
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from tasks.staging.deliveries.pending import Only

FILTERS = ["", LOGINS, "critical=true", f"{LOGINS}&critical=true", "since=2026-03-01T02:00:00Z"]


class Histories(RuleBasedStateMachine):
    """Filters that change, late events, replays, failures and normalizing anew, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.store = open_store("mock://")
        self.receiver = RejectingReceiver(lambda _: True)
        self.receiver.__enter__()
        self.known: dict[str, str] = {}
        self.hours = 0

    def teardown(self) -> None:
        """Stop the receiver."""
        self.receiver.stop()

    def url(self, query: str) -> str:
        """The receiver with some options."""
        return f"{self.receiver.url(batch=2)}&{query}" if query else self.receiver.url(batch=2)

    @rule(
        number=st.integers(0, 5),
        kinds=st.lists(st.sampled_from("loLO"), min_size=1, max_size=3),
    )
    def appear(self, number: int, kinds: list[str]) -> None:
        """Events appear, late or not."""
        rows = []
        for kind in kinds:
            self.hours += 1
            name = "halo_login_success" if kind in "lL" else "server_restarted"
            event_id = f"e{self.hours}{kind}"
            rows.append((event_id, at(number + self.hours % 60 / 60), name, kind.isupper()))
        stage(self.store, window(number, number + 1), events(*rows))
        transform(self.store)

    @rule(number=st.integers(0, 5))
    def anew(self, number: int) -> None:
        """A range is normalized anew."""
        transform(self.store, anew=window(number, number + 1))

    @rule(query=st.sampled_from(FILTERS), works=st.booleans())
    def load(self, query: str, *, works: bool) -> None:
        """A load with some filter, whose receiver may be sick."""
        self.receiver.accept = lambda _: works
        before = counted(self.store, self.url(query))
        done = load(self.store, self.url(query))
        assert done.asked == before[1]
        if works:
            assert done.pending == 0
            assert counted(self.store, self.url(query))[1:] == (0, before[2])
            assert load(self.store, self.url(query)).batches == 0

    @rule(
        query=st.sampled_from(FILTERS),
        only=st.sampled_from(["failed", "undelivered", "all"]),
        works=st.booleans(),
    )
    def replay(self, query: str, only: Only, *, works: bool) -> None:
        """A replay with some filter."""
        self.receiver.accept = lambda _: works
        sensor = destination(self.url(query))
        plan = plan_replay(self.store, [sensor], window(1, 4), only)
        done = replay(self.store, self.url(query), window(1, 4), only)
        assert done.asked == done.tried + done.not_tried
        assert done.asked == sum(day.asked for day in plan.days), "a dry run tells it"

    @invariant()
    def names_and_ids_agree(self) -> None:
        """For every filter the sums are exact."""
        if self.store.destinations():
            for query in FILTERS:
                counted(self.store, self.url(query))


Histories.TestCase.settings = settings(max_examples=8, stateful_step_count=8)
TestHistories = Histories.TestCase
