"""The main job, end to end: Halo events arrive at a sensor as CEF, each once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pycef
import pytest

from sandbox.halo_api import HaloStandIn
from sandbox.receiver import Receiver
from tests.flows.command import ROOT, command_for
from tests.syslog_ng import LISTENERS, SyslogNG, require

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENTS = 5_000
FULL = Path("/dev/full")


@pytest.fixture
def halo() -> Iterator[HaloStandIn]:
    """Three accounts with some events of three days."""
    with HaloStandIn(accounts=3, events=300, days=3) as halo:
        yield halo


@pytest.mark.syslog_ng
def test_each_event_reaches_each_listener_once_and_a_second_sync_sends_nothing(
    tmp_path: Path,
) -> None:
    """Three accounts, five listeners of a real syslog-ng: every event once, fields right."""
    require()
    with (
        HaloStandIn(accounts=3, events=EVENTS, days=3) as halo,
        SyslogNG(tmp_path / "syslog-ng") as sensor,
    ):
        urls = [sensor.url(name, name=name) for name in LISTENERS]
        halo_usm = command_for(tmp_path, halo, " ".join(urls))
        halo_usm("sync")
        normalized = pd.read_parquet(tmp_path / "staging" / "normalized")
        expected = Counter(normalized["event_id"])
        assert len(expected) == EVENTS
        for name in LISTENERS:
            lines = sensor.wait_for(name, EVENTS)
            events = [pycef.parse(line) for line in lines]
            arrived = Counter(event["externalId"] for event in events)
            if name.startswith("udp"):  # the kernel of a busy machine drops some
                assert arrived <= expected, name
            else:
                assert arrived == expected, name
        by_id = normalized.set_index("event_id")
        for event in events[::50]:
            row = by_id.loc[event["externalId"]]
            assert event["act"] == row["event_type"]
            assert event["DeviceEventClassID"] == row["rep_device_rule_id"]
            assert int(event["DeviceSeverity"]) == row["event_severity"]

        before = {name: len(sensor.messages(name)) for name in LISTENERS}
        again = halo_usm("sync")
        assert "delivered" not in again.stdout
        assert {name: len(sensor.messages(name)) for name in LISTENERS} == before

        status = halo_usm.status()
        assert sum(account["staged"] for account in status["accounts"].values()) == EVENTS
        for name in LISTENERS:
            destination = status["destinations"][name]
            assert (destination["delivered"], destination["pending"]) == (EVENTS, 0)
        assert status["unknown_types"] == {}


def test_an_unreachable_api_is_one_message_and_the_rest_is_done(
    tmp_path: Path, halo: HaloStandIn, receiver: Receiver
) -> None:
    """What was staged before is still delivered; exit code 1."""
    halo_usm = command_for(tmp_path, halo, receiver.url("tcp"), days=4)
    halo_usm("extract")
    halo_usm.settings["HALO_API_URL"] = "http://127.0.0.1:1"
    result = halo_usm("sync", code=1)
    assert len(receiver.messages("tcp")) == 300
    assert result.stderr.count("error: ") == 3
    assert "127.0.0.1:1" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_wrong_key_stops_only_its_account(
    tmp_path: Path, halo: HaloStandIn, receiver: Receiver
) -> None:
    """The other accounts' events arrive; the message names the account, never the secret."""
    halo_usm = command_for(tmp_path, halo, receiver.url("tcp"), days=4)
    auth = Path(halo_usm.settings["HALO_AUTH_FILE"])
    lines = auth.read_text().splitlines()
    key_id, _, name = lines[1].split("|")
    auth.write_text("\n".join([lines[0], f"{key_id}|wr0ng-s3cret|{name}", lines[2]]))
    result = halo_usm("sync", code=1)
    assert len(receiver.messages("tcp")) == 200
    assert result.stderr.count("error: ") == 1
    assert name in result.stderr
    assert "wr0ng-s3cret" not in result.stdout + result.stderr


def test_a_sensor_that_refuses_leaves_its_events_pending_and_the_other_is_served(
    tmp_path: Path, halo: HaloStandIn, receiver: Receiver
) -> None:
    """Exit code 1, one message; the next sync delivers what was left."""
    sensors = f"{receiver.url('tcp')} tcp://127.0.0.1:1?name=gone"
    halo_usm = command_for(tmp_path, halo, sensors, days=4)
    result = halo_usm("sync", code=1)
    assert len(receiver.messages("tcp")) == 300
    assert result.stderr.count("error: ") == 1
    assert halo_usm.status()["destinations"]["gone"]["pending"] == 300

    with Receiver("tcp") as back:
        halo_usm.settings["USM_SENSOR"] = back.url("tcp", name="gone")
        halo_usm("load")
        assert len(back.messages("tcp")) == 300
    assert halo_usm.status()["destinations"]["gone"]["pending"] == 0


def test_stages_one_by_one_do_what_sync_does(
    tmp_path: Path, halo: HaloStandIn, receiver: Receiver
) -> None:
    """extract, transform, load: each does its part and no more."""
    halo_usm = command_for(tmp_path, halo, receiver.url("tcp", name="sensor"), days=4)
    halo_usm("extract")
    account = halo_usm.status()["accounts"]["alpha"]
    assert (account["staged"], account["normalized"]) == (100, 0)
    halo_usm("transform")
    account = halo_usm.status()["accounts"]["alpha"]
    assert (account["staged"], account["normalized"]) == (100, 100)
    assert not receiver.messages("tcp")
    halo_usm("load")
    assert len(receiver.messages("tcp")) == 300


def test_a_range_is_replayed_from_staging_without_halo(
    tmp_path: Path, halo: HaloStandIn, receiver: Receiver
) -> None:
    """`replay --only all` sends the range's events again, the same bytes; nothing by default."""
    halo_usm = command_for(tmp_path, halo, receiver.url("tcp"), days=4)
    halo_usm("sync")
    first = receiver.messages("tcp")
    requests = halo.counters.requests
    today = datetime.now(UTC).date()
    since, until = str(today - timedelta(days=2)), str(today - timedelta(days=1))
    halo_usm("replay", "--since", since, "--until", until)
    assert len(receiver.messages("tcp")) == 300
    halo_usm("replay", "--since", since, "--until", until, "--only", "all")
    again = receiver.messages("tcp")[300:]
    assert again
    assert len(again) < 300
    assert set(again) <= set(first)
    assert halo.counters.requests == requests


@pytest.mark.parametrize(
    ("settings", "arguments", "message"),
    [
        ({"HALO_AUTH_FILE": "nowhere"}, ["sync"], "there is no file"),
        ({"HALO_AUTH_FILE": "malformed"}, ["sync"], "line 2"),
        ({"HALO_API_URL": "http://halo.example.com"}, ["sync"], "HALO_API_URL"),
        ({"USM_SENSOR": "ftp://sensor:514"}, ["sync"], "ftp"),
        ({"USM_SENSOR": "tcp://sensor:601?colour=red"}, ["sync"], "colour"),
        ({"USM_SENSOR": "tcp://sensor:601 tcp://sensor:601"}, ["load"], "tcp-sensor-601"),
        ({"USM_SENSOR": ""}, ["sync"], "USM_SENSOR"),
        ({"HALO_STAGING": "gopher://key:hunter2@host/x"}, ["status"], "HALO_STAGING"),
        ({}, ["replay", "--since", "2026-03-02", "--until", "2026-03-01"], "backward"),
        ({}, ["replay", "--since", "2026-03-01", "--until", "2026-03-01"], "empty"),
        ({}, ["extract", "--until", "2026-03-01"], "--since"),
        ({}, ["sync", "--lookback", "some"], "--lookback"),
        ({}, ["sync", "--colour", "red"], "--colour"),
        ({}, ["paint"], "paint"),
        ({}, ["audit"], "--event"),
        ({}, ["audit", "--event", "\udcff"], "no UTF-8"),
        ({}, ["export", "--since", "0001-01-01T00:00+05:00", "--format", "cef"], "--since"),
        ({"USM_SENSOR": "tls://h:6514?ca=malformed"}, ["load"], "holds no certificates"),
    ],
)
def test_bad_settings_are_one_message_and_exit_code_2_before_anything_is_touched(
    tmp_path: Path, settings: dict[str, str], arguments: list[str], message: str
) -> None:
    """No request is made, no folder is created."""
    (tmp_path / "malformed").write_text("a|b\nhunter2\n")
    with HaloStandIn(accounts=1) as halo:
        halo_usm = command_for(tmp_path, halo, "tcp://127.0.0.1:1")
        halo_usm.settings |= settings
        result = halo_usm(*arguments, code=2)
        assert halo.counters.requests == 0
    assert message in result.stderr
    assert "hunter2" not in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "staging").exists()


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full, which Linux has")
@pytest.mark.parametrize("command", ["status", "status --json", "export --since 2026-03-01"])
def test_output_that_cannot_be_written_is_one_message(
    tmp_path: Path, halo: HaloStandIn, command: str
) -> None:
    """Standard output on a full disk: exit code 1, said in a line."""
    halo_usm = command_for(tmp_path, halo, "tcp://127.0.0.1:1")
    shutil.copytree(ROOT / "data" / "sample", tmp_path / "staging")
    arguments = command.split() + ["--format=cef"] * command.startswith("export")
    process = halo_usm.popen(*arguments, stdout=FULL)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 1
    assert err.startswith("halo-usm: the output cannot be written: No space left on device; make")
    assert err.count("\n") == 1


def test_closed_streams_fail_no_delivery(
    tmp_path: Path, halo: HaloStandIn, receiver: Receiver
) -> None:
    """A scheduler may give neither standard output nor error."""
    halo_usm = command_for(tmp_path, halo, receiver.url("tcp"), days=4)
    line = f"exec {sys.executable} -m flows sync >&- 2>&-"
    subprocess.run(["sh", "-c", line], cwd=tmp_path, env=halo_usm.environment, check=True)
    assert len(receiver.messages("tcp")) == 300


def test_no_secret_is_staged_or_printed(
    tmp_path: Path, halo: HaloStandIn, receiver: Receiver
) -> None:
    """Secrets and tokens appear in no output and no file but the auth file."""
    halo_usm = command_for(tmp_path, halo, receiver.url("tcp"), days=4)
    secrets = [line.split("|")[1] for line in halo.auth_lines().splitlines()]
    result = halo_usm("sync")
    texts = [result.stdout.encode(), result.stderr.encode()]
    texts += [file.read_bytes() for file in (tmp_path / "staging").rglob("*") if file.is_file()]
    assert not [secret for secret in secrets for text in texts if secret.encode() in text]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("garbage", 2),
        ("http://127.0.0.1:99999/api", 2),
        ("http://127.0.0.1:1", 1),
        ("http://me:hunter2@127.0.0.1:1", 2),
    ],
)
def test_a_prefect_api_that_does_not_answer_is_one_message(
    tmp_path: Path, url: str, code: int
) -> None:
    """The message tells what to do, and shows no password of the URL's."""
    with HaloStandIn(accounts=1) as halo:
        halo_usm = command_for(tmp_path, halo, "tcp://127.0.0.1:1")
        halo_usm.settings["PREFECT_API_URL"] = url
        result = halo_usm("sync", code=code)
    assert result.stderr.startswith("halo-usm: PREFECT_API_URL: ")
    assert "without Prefect" in result.stderr
    assert "Traceback" not in result.stderr
    assert "hunter2" not in result.stderr


def test_a_staging_with_a_key_in_its_address_is_shown_without(
    tmp_path: Path, halo: HaloStandIn
) -> None:
    """The message shows no part of the key."""
    halo_usm = command_for(tmp_path, halo, "tcp://127.0.0.1:1")
    halo_usm.settings["HALO_STAGING"] = "gopher://key:hunter2@host/x"
    result = halo_usm("check", code=1)
    assert "://***@host/x" in result.stdout
    assert "hunter2" not in result.stdout + result.stderr
