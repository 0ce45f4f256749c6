"""What happens in the days of a simulation: drawn from a seed, which brings the same days back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGIN = datetime(2026, 3, 1, 20, tzinfo=UTC)
STEP = timedelta(minutes=5)
ACCOUNTS = ("alpha", "beta")
LATEST = timedelta(days=2)
"""How long after its time an event may appear."""

Action = Literal["sync", "deep look", "transform", "replay failed", "replay all", "maintain"]
HaloFault = Literal["", "unavailable", "reset", "cut off", "no JSON", "error inside"]
Receiver = Literal["accepts", "resets some", "resets all", "absent"]


@dataclass(frozen=True)
class NewEvent:
    """An event of an account, created before it appears in the API."""

    number: int
    account: str
    created_at: datetime
    appears: datetime


@dataclass(frozen=True)
class Moment:
    """One run of the product, and the world that it meets.

    Attributes:
        now: When it is.
        action: What is run.
        events: The events that were created since the moment before.
        halo: What the API does to some of the requests.
        receiver: What the second destination does; the first accepts everything.
        dies_at: The run is killed before it does so many things to the disk or the network; None
            for a run that is not killed.
        seed: For what is drawn while it runs.
    """

    now: datetime
    action: Action
    events: tuple[NewEvent, ...]
    halo: HaloFault
    receiver: Receiver
    dies_at: int | None
    seed: int


def history(seed: int, days: float) -> Iterator[Moment]:
    """The moments of so many days, in their order."""
    random = Random(seed)
    now = BEGIN
    number = 0
    receiver: Receiver = "accepts"
    looked = maintained = BEGIN.date()
    while (now := now + _pause(random)) < BEGIN + timedelta(days=days):
        if random.random() < 0.02:
            receiver = random.choice(["accepts", "resets some", "resets all", "absent"])
        elif random.random() < 0.1:
            receiver = "accepts"
        events = tuple(_events(random, number, now))
        number += len(events)
        action: Action = "sync"
        if now.date() != looked and now.hour >= 1:
            looked, action = now.date(), "deep look"
        elif now.date() != maintained and now.hour >= 2:
            maintained, action = now.date(), "maintain"
        elif random.random() < 0.01:
            action = random.choice(["transform", "replay failed", "replay all", "maintain"])
        yield Moment(
            now,
            action,
            events,
            random.choice(["unavailable", "reset", "cut off", "no JSON", "error inside"])
            if random.random() < 0.03
            else "",
            receiver,
            random.randrange(250) if random.random() < 0.02 else None,
            random.randrange(2**32),
        )


def _pause(random: Random) -> timedelta:
    """Mostly five minutes; now and then the schedule stands still for hours."""
    return STEP if random.random() < 0.995 else timedelta(hours=random.uniform(0.5, 9))


def _events(random: Random, first: int, now: datetime) -> Iterator[NewEvent]:
    """Events of both accounts, some of which share their time, and some of which appear late."""
    created = now
    for number in range(first, first + max(0, round(random.gauss(2, 3)))):
        if random.random() < 0.8:
            created = now - STEP * random.random()
        late = timedelta()
        if random.random() < 0.05:
            late = timedelta(minutes=10) if random.random() < 0.5 else LATEST * random.random()
        yield NewEvent(number, random.choice(ACCOUNTS), created, created + late)
