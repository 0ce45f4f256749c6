"""A Halo API stand-in: a real HTTP server on loopback that behaves as Halo's clients describe it.

In a test, with its state at hand:

    with HaloStandIn(accounts=["alpha", "beta"], events=5000, days=3) as halo:
        halo["alpha"].add([{"id": …, "created_at": …}], late=timedelta(minutes=9))
        halo.fail(faults.status(503), account="beta", after=2, times=3)
        halo.switches.count = False
        …  # talk to halo.url
        assert halo["alpha"].counters.logins == 1

As a process of its own, for demo and benchmarks:

    python -m sandbox.halo_api --accounts 3 --events 5000 --days 3 --latency-ms 50 --port 0

which prints its URL once it is ready and stops on SIGTERM, Ctrl-C, or when told to.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from cyclopts import App, Parameter

from sandbox.halo_app import EVENTS, HaloApp, Planned, Switches
from sandbox.halo_store import Account, Clock

if TYPE_CHECKING:
    from collections.abc import Mapping

    import uvicorn

    from sandbox.faults import Fault

_START_SECONDS = 30.0
_NAMES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa")


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
        switches, clock, accounts, counters, log: see `Switches`, `Clock`, `Account`, `Counters`,
            `Request`; all of them live.
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
        self.clock = clock or Clock()
        self.switches = Switches(**switches)
        names = account_names(accounts) if isinstance(accounts, int) else list(accounts)
        self.accounts = {name: Account(name, self.clock) for name in names}
        self._app = HaloApp(self.switches, self.clock, self.accounts)
        self._port = port
        self._tls = tls
        self.url = ""
        if events:
            self.populate(events, days=days, until=until, seed=seed)

    def __getitem__(self, name: str) -> Account:
        return self.accounts[name]

    @property
    def counters(self) -> Any:
        """What was asked in all; each account has its own besides."""
        return self._app.counters

    @property
    def log(self) -> Any:
        """The requests, oldest first."""
        return self._app.log

    def stats(self) -> dict[str, Any]:
        """Every counter as plain JSON values, as the process form gives them."""
        return self._app.stats()

    def reset_counters(self) -> None:
        """Count from zero again."""
        self._app.reset_counters()

    def expire_tokens(self) -> None:
        """End every token that was given: the next request with one gets 401."""
        self._app.tokens.clear()

    def populate(
        self, events: int, *, days: float, until: datetime | None = None, seed: int = 0
    ) -> None:
        """Generate events, in all so many, evenly over the accounts and over the days."""
        from sandbox.events import generate_encoded

        end = until or self.clock.now()
        share, rest = divmod(events, len(self.accounts))
        for at, account in enumerate(self.accounts.values()):
            count = share + (at < rest)
            account.add_encoded(
                generate_encoded(count, end - timedelta(days=days), end, seed, account.name)
            )

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
            since, until: only listings whose range overlaps `[since, until)`.
        """
        planned = Planned(fault, account, path, after, times, every, page, since, until)
        self._app.faults.append(planned)
        return planned

    def heal(self) -> None:
        """Forget every planned fault."""
        self._app.faults.clear()

    def auth_lines(self) -> str:
        """The auth file: one `key_id|secret|account` a line."""
        return "".join(f"{account.auth_line()}\n" for account in self.accounts.values())

    def write_auth(self, file: Path) -> Path:
        """Write the auth file, readable by its owner alone; returns its path."""
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            handle.write(self.auth_lines())
        file.chmod(0o600)
        return file

    def __enter__(self) -> Self:
        self._socket, self._server = self._bind()
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise RuntimeError("the Halo API stand-in did not start")
            time.sleep(0.002)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._app.hang_up()
        self._thread.join(_START_SECONDS)
        self._socket.close()

    def run(self) -> None:
        """Serve in this thread, printing the URL once ready, until SIGTERM or SIGINT."""
        listener, self._server = self._bind()
        for number in (signal.SIGTERM, signal.SIGINT):
            # uvicorn hands the signal on to the handler it found: stopping is no fault here
            signal.signal(number, lambda *_: None)
        print(self.url, flush=True)  # noqa: T201 - the promised line
        self._server.run(sockets=[listener])

    def stop(self) -> None:
        """Make `run` return."""
        self._server.should_exit = True
        self._app.hang_up()

    def _bind(self) -> tuple[socket.socket, uvicorn.Server]:
        listener = socket.create_server(("127.0.0.1", self._port), backlog=512)
        scheme = "https" if self._tls else "http"
        self.url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
        return listener, _server(self._app, self._tls)

    @classmethod
    def spawn(cls, **options: Any) -> StandInProcess:
        """The stand-in as a process of its own; see `StandInProcess`."""
        return StandInProcess(**options)


class StandInProcess:
    """The stand-in as a child process, so that it shares no interpreter with who measures it.

    A context manager. It ends with the context, and by itself when this process dies.

    Args:
        options: the command line's, by name: accounts, events, days, seed, latency_ms, port, and
            every one of `Switches`; `True` and `False` become `--name` and `--no-name`.

    Attributes:
        url: base URL.
        process: the child.
        auth: the auth file's text.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self.url = ""
        self.auth = ""

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "sandbox.halo_api", "--leave-with-stdin", "--print-auth"]
            + list(_flags(self._options)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line.startswith("http"):
                break
        else:
            raise RuntimeError(f"the stand-in ended with code {self.process.wait()}")
        self.url = lines.pop().strip()
        self.auth = "".join(lines)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(_START_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def write_auth(self, file: Path) -> Path:
        """Write the auth file, readable by its owner alone; returns its path."""
        file.touch(0o600)
        file.chmod(0o600)
        file.write_text(self.auth, encoding="utf-8")
        return file

    def stats(self) -> dict[str, Any]:
        """Every counter, in all and under `accounts` by account."""
        return self._ask("stats")

    def reset_counters(self) -> None:
        """Count from zero again."""
        self._ask("reset")

    def switch(self, **switches: Any) -> dict[str, Any]:
        """Change switches; returns all of them."""
        values = {name: json.dumps(value) for name, value in switches.items()}
        return self._ask("switches", values)

    def _ask(self, what: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        url = f"{self.url}/-/{what}?{urllib.parse.urlencode(query or {})}"
        with urllib.request.urlopen(url, timeout=_START_SECONDS) as answer:  # noqa: S310
            found: dict[str, Any] = json.load(answer)
        return found


def account_names(count: int) -> list[str]:
    """So many account names: alpha, beta, …, and numbered ones after kappa."""
    return [_NAMES[at] if at < len(_NAMES) else f"account-{at + 1}" for at in range(count)]


def _flags(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            yield f"--{flag}" if value else f"--no-{flag}"
        elif value is not None:
            yield f"--{flag}={value}"


def _server(app: HaloApp, tls: tuple[Path, Path] | None) -> uvicorn.Server:
    import uvicorn
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    class Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        """uvicorn's own, telling the application of its connections, which some faults break."""

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            app.connected(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            app.transports.pop(self.client, None)
            super().connection_lost(exc)

    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
            ssl_certfile=str(tls[0]) if tls else None,
            ssl_keyfile=str(tls[1]) if tls else None,
        )
    )


def main(
    *,
    accounts: int = 3,
    events: int = 0,
    days: float = 3,
    until: datetime | None = None,
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
        print(halo.auth_lines(), end="")  # noqa: T201 - asked for
    if leave_with_stdin:
        threading.Thread(target=_leave_with_stdin, args=(halo,), daemon=True).start()
    halo.run()


def _leave_with_stdin(halo: HaloStandIn) -> None:
    while sys.stdin.readline():
        pass
    halo.stop()


if __name__ == "__main__":
    App(default_command=main, name="python -m sandbox.halo_api", version_flags=[])()
