"""A Halo API stand-in: a real HTTP server on loopback that behaves as Halo's clients describe it.

In a test, with its state at hand:

    with HaloStandIn(["alpha", "beta"], events=5000, days=3) as halo:
        halo["alpha"].add([{"id": …, "created_at": …}], late=timedelta(minutes=9))
        halo.fail(faults.status(503), account="beta", after=2, times=3)
        halo.switches.count = False
        …  # talk to halo.url with the keys of halo.auth_lines()
        assert halo["alpha"].counters.logins == 1

As a program, which prints its URL once it is ready and stops on SIGTERM or Ctrl-C:

    python -m sandbox.halo_api --events 5000 --events-per-minute 60 --port 8080 --write-auth keys

`HaloStandIn.spawn` starts it from Python, for demo and benchmarks.
"""

from __future__ import annotations

import signal
import socket
import sys
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path  # noqa: TC003 - the command line reads the annotation
from typing import TYPE_CHECKING, Annotated, Any, Self

from cyclopts import App, Parameter

from sandbox.events import generate_encoded
from sandbox.halo_app import EVENTS, HaloApp
from sandbox.halo_process import StandInProcess, write_private
from sandbox.halo_server import server
from sandbox.halo_state import Clock, Counters, Request
from sandbox.halo_store import Account, account_names
from sandbox.halo_switches import Planned, Switches
from sandbox.live_events import LiveEvents

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterable

    import uvicorn

    from sandbox.faults import Fault

__all__ = ["Account", "Clock", "HaloStandIn", "StandInProcess", "Switches", "account_names"]

_RETRY_POLICY = 30.0


class HaloStandIn:
    """The stand-in, serving from a thread of this process while the context is entered.

    Args:
        accounts: their names, or how many ("alpha", "beta", …).
        events: how many generated events, in all, spread evenly over the accounts.
        days: how long before `until` the first of them was created.
        until: the end of their range, by default the API's now.
        seed: of the generator.
        clock: the API's clock, by default the machine's.
        port: 0 takes a free one.
        tls: (certificate file, key file) to speak HTTPS.
        switches: any of `Switches`, by name.

    Attributes:
        url: base URL, without a slash at the end.
        clock: the API's time; may be set and advanced.
        switches: may be changed at any time.
        accounts: by name; `halo["alpha"]` is short for `halo.accounts["alpha"]`.
    """

    def __init__(
        self,
        accounts: int | Iterable[str] = 1,
        *,
        events: int = 0,
        days: float = 3,
        until: datetime | None = None,
        seed: int = 0,
        clock: Clock | None = None,
        port: int = 0,
        tls: tuple[Path, Path] | None = None,
        **switches: Any,
    ) -> None:
        self.url = ""
        self.clock = clock or Clock()
        self.switches = Switches(**switches)
        names = account_names(accounts) if isinstance(accounts, int) else list(accounts)
        self.accounts = {name: Account(name, self.clock) for name in names}
        self._app = HaloApp(self.switches, self.clock, self.accounts)
        self._port = port
        self._tls = tls
        self.populate(events, days=days, until=until, seed=seed)

    def __getitem__(self, name: str) -> Account:
        return self.accounts[name]

    @property
    def counters(self) -> Counters:
        """What was asked in all; each account has its own besides."""
        return self._app.counters

    @property
    def log(self) -> deque[Request]:
        """The requests that were answered, oldest first."""
        return self._app.log

    def stats(self) -> dict[str, Any]:
        """Every counter as plain JSON values, in all and under `accounts` by account."""
        return self._app.stats()

    def reset_counters(self) -> None:
        """Count from zero again, and forget the log."""
        self._app.reset()

    def expire_tokens(self) -> None:
        """End every token that was given: the next request with one gets 401."""
        self._app.tokens.clear()

    def renew(self) -> None:
        """Be as new, without a restart: the same accounts and first keys, but no events, faults or
        counts, no token valid, every switch at its default, the clock the machine's. Take accounts
        anew from it.
        """  # noqa: D205 - one sentence
        self.heal()
        self.switches.set(**vars(Switches()))
        self.clock.run()
        self.expire_tokens()
        for name in self.accounts:
            self.accounts[name] = Account(name, self.clock)
        self.reset_counters()

    def populate(
        self, events: int, *, days: float = 3, until: datetime | None = None, seed: int = 0
    ) -> None:
        """Generate events, in all so many, evenly over the accounts and over the days."""
        end = until or self.clock.now()
        start = end - timedelta(days=days)
        share, rest = divmod(events, len(self.accounts))
        for at, account in enumerate(self.accounts.values()):
            count = share + (at < rest)
            account.add_encoded(generate_encoded(count, start, end, seed, account.name))

    def fail(
        self,
        fault: Fault,
        *,
        account: str | None = None,
        path: str = EVENTS,
        after: int = 0,
        times: int | None = 1,
        every: int = 1,
        page: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Planned:
        """Plan a fault; the result counts its `hits`.

        Args:
            fault: one of `sandbox.faults`.
            account: only requests of this account.
            path: only requests of this path, `/v1/events` by default; the other is
                `/oauth/access_token`.
            after: let so many of the requests that are meant pass first.
            times: how often, None for ever.
            every: from then on, every so many-th of them.
            page: only requests for this page.
            since: only listings whose range reaches beyond this time.
            until: only listings whose range begins before this time.
        """
        planned = Planned(fault, account, path, after, times, every, page, since, until)
        self._app.faults.append(planned)
        return planned

    def heal(self) -> None:
        """Forget every planned fault."""
        self._app.faults.clear()

    def auth_lines(self) -> str:
        """The auth file: one `key_id|secret|account` a line, with each account's newest key."""
        return "".join(f"{account.auth_line()}\n" for account in self.accounts.values())

    def write_auth(self, file: Path) -> Path:
        """Write the auth file, readable by its owner alone; returns its path."""
        return write_private(file, self.auth_lines())

    def __enter__(self) -> Self:
        self._socket, self._server = self._bind()
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + _RETRY_POLICY
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise RuntimeError("the Halo API stand-in did not start")
            time.sleep(0.002)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join(_RETRY_POLICY)
        self._socket.close()

    def run(self) -> None:
        """Serve in this thread, printing the URL once ready, until SIGTERM or SIGINT."""
        listener, self._server = self._bind()
        for number in (signal.SIGTERM, signal.SIGINT):
            # uvicorn hands the signal on to the handler it found: stopping is no fault here
            signal.signal(number, lambda *_: self.stop())
        print(self.url, flush=True)
        self._server.run(sockets=[listener])

    def stop(self) -> None:
        """Stop serving, from any thread; connections are broken."""
        self._server.should_exit = True
        self._app.hang_up()

    def _bind(self) -> tuple[socket.socket, uvicorn.Server]:
        listener = socket.create_server(("127.0.0.1", self._port), backlog=512)
        scheme = "https" if self._tls else "http"
        self.url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
        return listener, server(self._app, self._tls)

    @staticmethod
    def spawn(**options: object) -> StandInProcess:
        """The stand-in as a process of its own, by the command line's options."""
        return StandInProcess(**options)


def main(
    *,
    accounts: int = 3,
    events: int = 0,
    days: float = 3,
    until: datetime | None = None,
    events_per_minute: float = 0,
    seed: int = 0,
    port: int = 0,
    write_auth: Path | None = None,
    print_auth: bool = False,
    leave_with_stdin: bool = False,
    certfile: Path | None = None,
    keyfile: Path | None = None,
    switches: Annotated[Switches, Parameter(name="*")] | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; prints the URL once ready.

    Args:
        accounts: how many accounts: alpha, beta, …
        events: how many generated events in all, spread evenly over the accounts.
        days: how long before `until` the first of them was created.
        until: the end of their range, by default now.
        events_per_minute: how many more are created from now on, of all accounts together.
        seed: of the generator.
        port: 0 takes a free one.
        write_auth: write an auth file with the accounts' keys here, mode 600.
        print_auth: print the auth file before the URL.
        leave_with_stdin: stop at the end of standard input too.
        certfile: a certificate, to speak HTTPS.
        keyfile: its key.
        switches: how the API behaves.
    """
    halo = HaloStandIn(
        accounts,
        events=events,
        days=days,
        until=until,
        seed=seed,
        port=port,
        tls=(certfile, keyfile) if certfile and keyfile else None,
        **vars(switches or Switches()),
    )
    if write_auth:
        halo.write_auth(write_auth)
    if print_auth:
        print(halo.auth_lines(), end="")
    if leave_with_stdin:
        threading.Thread(target=_leave_with_stdin, args=(halo,), daemon=True).start()
    if events_per_minute:
        LiveEvents(halo, events_per_minute, seed).start()
    halo.run()


def _leave_with_stdin(halo: HaloStandIn) -> None:
    while sys.stdin.readline():
        pass
    halo.stop()


if __name__ == "__main__":
    try:
        App(default_command=main, name="python -m sandbox.halo_api", version_flags=[])()
    except OSError as fault:
        sys.exit(f"{fault}; choose another --port or file")
