"""What check, status, audit and export answer, as interface and exit code."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from sandbox.halo_api import HaloStandIn
from sandbox.receiver import Receiver
from tests.flows.command import Command, command_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVENTS = 40
_START = f"{datetime.now(UTC) - timedelta(days=5):%Y-%m-%d}"
_MONTH = ("--since", (datetime.now(UTC) - timedelta(days=30)).isoformat())


@pytest.fixture
def halo() -> Iterator[HaloStandIn]:
    """Two accounts with some events."""
    with HaloStandIn(accounts=2, events=EVENTS, days=2) as halo:
        yield halo


@pytest.fixture
def halo_usm(tmp_path: Path, halo: HaloStandIn) -> Iterator[Command]:
    """The command line with a sensor named `sensor`."""
    with Receiver("tcp") as receiver:
        yield command_for(tmp_path, halo, receiver.url("tcp", name="sensor"), days=3)


def test_check_says_line_by_line_what_is_usable_and_sends_nothing(
    tmp_path: Path, halo: HaloStandIn, halo_usm: Command
) -> None:
    """Paths in full, each key, the framing, what a new destination would get; nothing is sent."""
    said = halo_usm("check").stdout.splitlines()
    assert all(line.startswith("ok ") for line in said)
    assert f"auth file {tmp_path}/haloEvents.auth: alpha, beta" in said[0]
    assert "account alpha" in said[1]
    assert f"staging {tmp_path}/staging" in said[3]
    assert "rfc3164, a newline after each message" in said[5]
    assert not (tmp_path / "staging").exists()
    halo_usm("extract")
    halo_usm("transform")
    assert f"new: it would get {EVENTS} events" in halo_usm("check").stdout
    halo_usm("load")
    halo_usm.settings["USM_SENSOR"] += "&types=halo_login_failur,unheard_of"
    said = halo_usm("check").stdout.splitlines()
    assert "; 0 events are pending; warning: types= names what the catalogue does not" in said[5]
    assert said[5].endswith(": halo_login_failur (did you mean halo_login_failure?), unheard_of")


def test_status_is_asked_for_in_one_form(halo_usm: Command) -> None:
    """Two forms at once are wrong usage."""
    said = halo_usm("status", "--json", "--metrics", code=2)
    assert (said.stdout, said.stderr) == ("", "halo-usm: status: say either --json or --metrics\n")


def test_check_names_what_is_wrong_and_goes_on(halo: HaloStandIn, halo_usm: Command) -> None:
    """A refused key and a sensor that is not there are a line each; exit code 1."""
    halo["beta"].rotate_key()
    halo_usm.settings["HALO_AUTH_FILE"] = "wrong"
    (halo_usm.folder / "wrong").write_text(f"{halo['alpha'].auth_line()}\nno-such-key|wr0ng|beta\n")
    halo_usm.settings["USM_SENSOR"] += " tcp://127.0.0.1:1?name=gone"
    said = halo_usm("check", code=1).stdout
    failed = [line for line in said.splitlines() if line.startswith("FAIL")]
    assert [line.split(":")[0].split(" at ")[0] for line in failed] == [
        "FAIL account beta",
        "FAIL sensor gone",
    ]
    assert "wr0ng" not in said


def test_status_has_the_keys_that_machines_rely_on(halo_usm: Command) -> None:
    """Accounts, destinations by account, unknown types: exactly these names."""
    halo_usm("sync")
    status = halo_usm.status()
    assert set(status) == {"accounts", "destinations", "unknown_types"}
    assert set(status["accounts"]["alpha"]) == {
        "covered",
        "gaps",
        "staged",
        "normalized",
        "rejected",
        "newest_event",
        "dropped",
        "sealed_until",
    }
    counts = {"delivered", "pending", "failed", "excluded", "oldest_pending"}
    assert set(status["destinations"]["sensor"]) == counts | {"accounts"}
    assert set(status["destinations"]["sensor"]["accounts"]["beta"]) == counts
    [[since, until]] = status["accounts"]["alpha"]["covered"]
    assert datetime.fromisoformat(since) < datetime.fromisoformat(until) <= datetime.now(UTC)


def test_audit_tells_the_life_of_an_event_and_whether_a_range_adds_up(
    tmp_path: Path, halo_usm: Command
) -> None:
    """Exit code 0 for what is known and adds up, 1 for an unknown event and a lost file."""
    halo_usm("sync")
    exported = halo_usm("export", *_MONTH, "--format", "json").stdout.splitlines()
    assert len(exported) == EVENTS
    event_id = json.loads(exported[0])["event_id"]
    life = json.loads(halo_usm("audit", "--event", event_id, "--json").stdout)
    assert set(life) == {
        "event_id",
        "account",
        "staged",
        "normalized",
        "rejected",
        "deliveries",
    }
    assert life["rejected"] is None
    assert [row["status"] for row in life["deliveries"]] == ["confirmed"]
    result = halo_usm("audit", "--event", "0" * 32, code=1)
    assert result.stderr == f"error: event {'0' * 32} is not in this staging\n"
    answer = json.loads(halo_usm("audit", *_MONTH, "--json").stdout)
    assert answer == {
        "staged": EVENTS,
        "normalized": EVENTS,
        "rejected": 0,
        "dropped_days": 0,
        "destinations": {"sensor": {"delivered": EVENTS, "pending": 0, "failed": 0, "excluded": 0}},
        "consistent": True,
    }
    next((tmp_path / "staging" / "normalized").rglob("*.parquet")).unlink()
    result = halo_usm("audit", *_MONTH, "--json", code=1)
    assert json.loads(result.stdout)["consistent"] is False
    assert "neither normalized nor rejected" in result.stderr


def test_an_account_that_was_never_read_has_a_gap(tmp_path: Path, halo_usm: Command) -> None:
    """From where its first sync would begin until now, whether or not others are read."""
    auth = tmp_path / "haloEvents.auth"
    auth.write_text(auth.read_text() + "unknown|secret|gamma\n")
    halo_usm.settings["HALO_START"] = _START
    since, until = halo_usm.status()["accounts"]["gamma"]["gaps"][0]
    assert since == f"{_START}T00:00:00Z"
    assert datetime.now(UTC) - datetime.fromisoformat(until) < timedelta(minutes=1)
    halo_usm("sync", code=1)
    accounts = halo_usm.status()["accounts"]
    assert accounts["gamma"]["gaps"][0][0] == since
    assert accounts["gamma"]["covered"] == []
    assert accounts["alpha"]["gaps"] == []
    assert f"gamma has a gap from {_START}" in halo_usm("status").stdout


def test_what_is_foreign_takes_no_answer_away(tmp_path: Path, halo_usm: Command) -> None:
    """`status` and `check` name its place, answer for all others, and exit with 1."""
    halo_usm("sync")
    account = tmp_path / "staging" / "raw" / "account=alpha"
    (next(account.iterdir()) / "mine.parquet").touch()
    (tmp_path / "staging" / "raw" / "backup").mkdir()
    status = halo_usm("status", "--json", code=1)
    assert [line for line in status.stderr.splitlines() if "mine.parquet" in line]
    assert [line for line in status.stderr.splitlines() if "'raw/backup'" in line]
    assert json.loads(status.stdout)["accounts"]["beta"]["staged"] > 0
    check = halo_usm("check", code=1)
    assert "mine.parquet" in check.stdout
    assert "ok   sensor sensor" in check.stdout


def test_a_range_extracted_by_itself_leaves_the_time_before_as_a_gap(halo_usm: Command) -> None:
    """Until a sync has read from HALO_START on, `status` shows what it is going to read."""
    halo_usm.settings["HALO_START"] = _START
    halo_usm("extract", "--since", (datetime.now(UTC) - timedelta(days=1)).isoformat())
    [gap, *_] = halo_usm.status()["accounts"]["alpha"]["gaps"]
    assert gap[0] == f"{_START}T00:00:00Z"
    halo_usm("sync")
    assert halo_usm.status()["accounts"]["alpha"]["gaps"] == []


def test_rejected_events_are_a_warning_and_no_failure(halo: HaloStandIn, halo_usm: Command) -> None:
    """Exit code 0, a line on stderr, a count in status; the neighbours arrive."""
    halo["alpha"].add(
        [b'{"type": "new_server"}'], created_at=datetime.now(UTC) - timedelta(hours=1)
    )
    result = halo_usm("sync")
    assert "1 " in result.stderr
    assert "rejected" in result.stderr
    status = halo_usm.status()
    assert status["accounts"]["alpha"]["rejected"] == 1
    assert status["destinations"]["sensor"]["delivered"] == EVENTS


def test_another_settings_file_is_used_from_anywhere(tmp_path: Path, halo_usm: Command) -> None:
    """`--env-file`: its relative paths start from its folder, not from where the command runs."""
    (tmp_path / "etc").mkdir()
    settings = halo_usm.settings | {
        "HALO_STAGING": "../staged",
        "HALO_AUTH_FILE": "../haloEvents.auth",
    }
    (tmp_path / "etc" / "halo.env").write_text(
        "".join(f"{name}={value}\n" for name, value in settings.items())
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Command(elsewhere)("sync", "--env-file", "../etc/halo.env")
    assert (tmp_path / "staged" / "raw").is_dir()
    assert not list(elsewhere.iterdir())


def test_keys_that_others_can_read(halo_usm: Command) -> None:
    """If others can read the auth file, commands warn of it with the remedy; it is no failure."""
    auth = halo_usm.folder / "haloEvents.auth"
    auth.chmod(0o644)
    advice = f"{auth} is open to other users of this machine: chmod 600 {auth}"
    assert f"alpha, beta; {advice}" in halo_usm("check").stdout
    for command in ("extract", "sync"):
        assert halo_usm(command).stderr.count(f"warning: {advice}\n") == 1
    auth.chmod(0o600)
    assert "chmod" not in halo_usm("sync").stderr
