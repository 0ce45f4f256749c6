"""From the vendor's connector to this one, as its user does it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sandbox.halo_api import HaloStandIn
from sandbox.receiver import Receiver
from tests.extract.harness import event
from tests.flows.command import Command
from tests.staging.rejecting_receiver import ids_in

if TYPE_CHECKING:
    from pathlib import Path


def test_after_the_import_a_sync_delivers_only_what_is_newer(tmp_path: Path) -> None:
    """Each account from its own timestamp on, that microsecond included; no secret is shown."""
    now = datetime.now(UTC).replace(microsecond=700_000)
    old = tmp_path / "old"
    (old / "configs").mkdir(parents=True)
    expected = set()
    with HaloStandIn(["2015", "2018"]) as halo, Receiver("tcp") as receiver:
        lines = []
        for number, account in enumerate(halo.accounts.values()):
            stopped = now - timedelta(days=2 + number)
            times = [stopped + timedelta(microseconds=n) for n in (-1, 0, 1)]
            times += [stopped - timedelta(days=1), stopped + timedelta(hours=1)]
            events = [event(number * 10 + n, time) for n, time in enumerate(times)]
            account.add(events)
            expected |= {events[n]["id"] for n in (1, 2, 4)}
            key_id, secret = account.key
            lines.append(f"{key_id}|{secret}\n")
            text = stopped.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            if account.name == "2015":
                (old / "haloEvents.config").write_text(f"{key_id}|{text}\n")
            else:
                (old / "configs" / f"{key_id}_{text.replace(':', '+')}").touch()
        (old / "haloEvents.auth").write_text("".join(lines))
        secrets = [account.key[1] for account in halo.accounts.values()]
        halo_usm = Command(
            tmp_path,
            {"HALO_API_URL": halo.url, "USM_SENSOR": receiver.url("tcp"), "HALO_STAGING": "data"},
        )
        dry = halo_usm("import-connector", "old").stdout
        assert "Nothing was written." in dry
        assert not (tmp_path / "data").exists()
        assert not (tmp_path / "haloEvents.auth").exists()
        written = halo_usm("import-connector", "old", "--write").stdout
        assert "Nothing to do" in halo_usm("import-connector", "old", "--write").stdout
        assert not any(secret in dry + written for secret in secrets)
        halo_usm("sync")
        halo_usm("sync", "--lookback", "10000")
        received = ids_in(b"\n".join(receiver.messages("tcp")))
        assert sorted(received) == sorted(expected), "each once"
        for status in halo_usm.status()["accounts"].values():
            assert status["gaps"] == []

    (tmp_path / "haloEvents.auth").write_text("other|hunter2\n")
    refused = halo_usm("import-connector", "old", code=2)
    assert "lacks the connector's key" in refused.stderr
