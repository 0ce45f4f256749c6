"""Writes the small staging that ships, `data/sample`, to look at: `python -m tests.sample`.

A made-up week of March 2026: what the product itself stages and delivers of the stand-in's events,
the same bytes every time. On Thursday morning the connector is set up, and fetches what is there
of the week. From then on it syncs as events come, through an outage, a sensor that is down, late
and malformed events, a range that Halo does not give, and somebody who guesses passwords.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
import uuid
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from unittest import mock

from flows import pipeline
from flows.context import prepare
from sandbox import faults
from sandbox.certificates import Authority, server_context
from sandbox.events import generate, generate_encoded
from sandbox.halo_api import Clock, HaloStandIn
from sandbox.odd_events import malformed, odd
from sandbox.password_guesses import password_guesses
from sandbox.receiver import Receiver
from tasks.time_window import Window
from tests.documents import ROOT
from tests.same_every_time import NoWait, OneByOne, same_every_time

if TYPE_CHECKING:
    from flows.context import RunContext
    from tasks.results import StageResult

SAMPLE = ROOT / "data" / "sample"
ACCOUNTS = ("production", "20417")
"""The second one is of digits alone, as some are: no number."""
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
RANGE = Window(MONDAY, MONDAY + timedelta(days=7))
"""The week of its events."""
GAP = Window(MONDAY + timedelta(days=5, hours=18, minutes=1), MONDAY + timedelta(days=6))
"""What Halo does not give of the second account."""
GUESSERS = ("203.0.113.66", "198.51.100.200")
"""The addresses that guess passwords; the second one gets in."""

_SENSOR = "sensor.example.com"
_MINUTE = timedelta(minutes=1)


class _Sensor:
    """The destination that speaks TLS, at a free port of this machine; errors name another one.

    Attributes:
        state: Whether it is up, down, or ends TLS without a close_notify.
        url: Its sensor URL.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        authority = Authority(folder)
        own = authority.issue(_SENSOR)
        tls = server_context(own.cert, own.key)
        closed = stack.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))  # nothing listens there
        self.state: Literal["up", "down", "abrupt"] = "up"
        self.url = f"tls://{_SENSOR}:6514?name=usm&ca={authority.cert}"
        self._ports = {"down": closed.getsockname()[1]}
        for state in ("up", "abrupt"):
            receiver = Receiver("tls", context=tls, close_notify=state == "up", keep=False)
            self._ports[state] = stack.enter_context(receiver).port("tls")
        stack.enter_context(mock.patch("tasks.syslog.tcp.resolve", self._resolve))
        named = mock.patch("tasks.syslog.tcp.name_of", return_value="192.0.2.10 port 6514")
        stack.enter_context(named)

    def _resolve(self, *_: object) -> list[tuple[int, tuple[str, int]]]:
        return [(socket.AF_INET, ("127.0.0.1", self._ports[self.state]))]


class _Week:
    """The stand-in and the two destinations, and what happens to them in the week.

    Args:
        folder: The staging.
        elsewhere: A folder for what a staging does not hold.
        halo: The stand-in; its clock is the week's.
        stack: Ends the destinations.
    """

    def __init__(self, folder: Path, elsewhere: Path, halo: HaloStandIn, stack: ExitStack) -> None:
        self._halo = halo
        self._sensor = _Sensor(elsewhere / "certificates", stack)
        siem = stack.enter_context(Receiver("udp", keep=False))
        self._seed = 0
        self._settings: dict[str, Any] = {
            "halo_api_url": halo.url,
            "halo_auth_file": halo.write_auth(elsewhere / "haloEvents.auth"),
            "halo_concurrency": 1,
            "halo_device_address": "50.57.180.190",
            "halo_staging": str(folder),
            "halo_start": RANGE.since.isoformat(),
            "usm_sensor": f"{self._sensor.url} {siem.url('udp', name='siem', rate=100_000)}",
        }

    def events(self, until: datetime, *counts: int, minutes: float = 4) -> None:
        """Let events be created in the minutes before a time, so many of each account."""
        since = until - minutes * _MINUTE
        for account, count in zip(ACCOUNTS, counts, strict=False):
            self._seed += 1
            made = generate_encoded(count, since, until, self._seed, account)
            self._halo[account].add_encoded(made)

    def guesses(self, count: int, until: datetime, source: str, *, minutes: float) -> None:
        """Let somebody guess passwords at a server of the first account."""
        since = until - minutes * _MINUTE
        right = source == GUESSERS[1]
        guesses = password_guesses(
            count, since, until, source, account=ACCOUNTS[0], last_is_right=right
        )
        self._halo[ACCOUNTS[0]].add(guesses)

    def late(self, count: int, until: datetime, visible_from: datetime) -> None:
        """Let events of the first account be created before a time and be listed only later."""
        made = generate(count, until - 4 * _MINUTE, until, 1000, ACCOUNTS[0])
        self._halo[ACCOUNTS[0]].add(made, visible_from=visible_from)

    def odd_events(self, at: datetime) -> None:
        """Let events of the first account be created that are malformed, or of no known type."""
        made = malformed(at) | odd(at)
        events = [made[name] for name in ("no id", "date that is none", "a number", "unknown")]
        self._halo[ACCOUNTS[0]].add(events, created_at=at)

    def sync(
        self,
        at: datetime,
        sensor: Literal["up", "down", "abrupt"] = "up",
        *,
        problems: int = 0,
        lookback: int | None = None,
    ) -> None:
        """Sync at a time.

        Args:
            at: The time.
            sensor: Whether the destination that speaks TLS is up, and ends TLS in order.
            problems: How many are expected.
            lookback: Minutes of covered time to read again.
        """
        self._sensor.state = sensor
        work = self._run(at, halo_lookback_minutes=lookback)
        _check(at, pipeline.sync(work, OneByOne()), problems)

    def replay(self, at: datetime, window: Window, destination: str) -> None:
        """Deliver a range again at a time."""
        work = self._run(at, destination)
        _check(at, pipeline.replay(work, OneByOne(), window, "all"), problems=0)

    def _run(self, at: datetime, destination: str | None = None, **flags: Any) -> RunContext:
        self._halo.clock.set(at)
        return prepare(
            flags=self._settings | flags,
            accounts=True,
            sensors=True,
            destination=destination,
            run_id=uuid.uuid5(uuid.NAMESPACE_URL, at.isoformat()).hex,
            stop=NoWait(),
        )


def _check(at: datetime, results: list[StageResult], problems: int) -> None:
    found = [problem for result in results for problem in result.problems]
    if len(found) != problems:
        raise RuntimeError("\n".join([f"{at}: {problems} problems expected, not these:", *found]))


def _at(day: int, clock: str) -> datetime:
    """A time of day of the week; Monday is 0."""
    hour, minute = clock.split(":")
    return MONDAY + timedelta(days=day, hours=int(hour), minutes=int(minute))


def _until_thursday(week: _Week) -> None:
    """The connector is set up on Thursday, fetches what there is, and goes on."""
    week.events(_at(3, "09:00"), 680, 230, minutes=81 * 60)
    week.guesses(420, _at(1, "04:40"), GUESSERS[0], minutes=90)
    week.sync(_at(3, "09:00"))
    week.events(_at(3, "09:35"), 40, 12)
    week.sync(_at(3, "09:35"))
    week.events(_at(3, "13:10"), 60, 0)
    week.sync(_at(3, "13:10"))
    week.events(_at(3, "19:00"), 0, 18)
    week.sync(_at(3, "19:00"))


def _friday(week: _Week) -> None:
    """No sync runs for 40 minutes, later the sensor is down; some events appear late."""
    week.sync(_at(4, "10:00"))
    week.events(_at(4, "10:40"), 90, 20, minutes=40)
    week.sync(_at(4, "10:40"))
    week.events(_at(4, "12:00"), 40)
    week.late(7, _at(4, "11:58"), visible_from=_at(4, "12:03"))
    week.sync(_at(4, "12:00"))
    week.sync(_at(4, "12:05"))
    week.events(_at(4, "16:30"), 70, 25)
    week.sync(_at(4, "16:30"), "down", problems=1)
    week.odd_events(_at(4, "16:39"))
    week.sync(_at(4, "16:45"))
    week.late(9, _at(4, "20:10"), visible_from=_at(5, "01:00"))
    week.events(_at(4, "20:15"), 50)
    week.sync(_at(4, "20:15"))


def _weekend(week: _Week, halo: HaloStandIn) -> None:
    """A deep look; Halo does not give a range; somebody guesses passwords; the sensor fails."""
    week.sync(_at(5, "03:00"), lookback=1440)
    week.events(_at(5, "18:00"), 45, 30)
    week.sync(_at(5, "18:00"))
    refused = faults.status(400)
    halo.fail(refused, account=ACCOUNTS[1], since=GAP.since, until=GAP.until, times=None)
    week.guesses(110, _at(5, "22:20"), GUESSERS[1], minutes=10)
    week.sync(_at(5, "22:15"), problems=1)
    week.sync(_at(5, "22:20"), problems=1)
    week.events(_at(6, "11:00"), 60)
    week.sync(_at(6, "11:00"), "abrupt", problems=2)
    week.sync(_at(6, "11:05"), problems=1)
    week.replay(_at(6, "11:30"), Window(_at(3, "13:00"), _at(3, "13:30")), "siem")
    week.events(_at(6, "23:55"), 40)
    week.sync(_at(6, "23:55"), "down", problems=2)


def write(folder: Path) -> None:
    """Write the sample into a new folder."""
    clock = Clock(at=RANGE.since)
    with (
        tempfile.TemporaryDirectory() as elsewhere,
        HaloStandIn(ACCOUNTS, clock=clock) as halo,
        ExitStack() as stack,
    ):
        week = _Week(folder, Path(elsewhere), halo, stack)
        stack.enter_context(same_every_time(clock))
        _until_thursday(week)
        _friday(week)
        _weekend(week, halo)
    for not_shipped in (".cache", ".ids", ".locks", ".tmp"):
        shutil.rmtree(folder / not_shipped, ignore_errors=True)


if __name__ == "__main__":
    if SAMPLE.exists():
        shutil.rmtree(SAMPLE)
    write(SAMPLE)
