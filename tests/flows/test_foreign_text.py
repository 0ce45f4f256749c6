"""Text that others wrote reaches no terminal or log as it is: events, answers, names, arguments."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from flows.cli.app import run
from sandbox import faults
from tests.flows.command import Command, command_for

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.halo_api import HaloStandIn
    from sandbox.receiver import Receiver

EVIL = (
    "\x1b[2J\x1b]0;owned\x07\x9b\x7f\r\nerror: forged"
    "\u2028\u2029\u202e\u2066\ufeff\u200b[red]:smile:"
)
"""Clears the screen, rings, forges a line, turns the direction of text, and is styled by rich."""
LONG = EVIL + "x" * 100_000


def harmless(text: str) -> bool:
    """Whether a terminal shows it and does nothing else, line by line."""
    return all(line.isprintable() for line in text.split("\n")) and "\nerror: forged" not in text


@pytest.fixture
def halo_usm(tmp_path: Path, halo: HaloStandIn, receiver: Receiver) -> Command:
    """The command line whose API has an event full of it, and an account whose answers are."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    event = dict.fromkeys(("type", "name", "message", "server_hostname"), EVIL)
    when = yesterday.isoformat().replace("+00:00", "Z")
    halo["alpha"].add([event | {"id": f"evil{EVIL}", "created_at": when}])
    halo["alpha"].add([{"type": EVIL, "message": EVIL}], created_at=yesterday)
    answer = json.dumps({"error": LONG}, ensure_ascii=False).replace("\\u001b", "\x1b").encode()
    halo.fail(faults.body(answer, code=422), account="beta", times=None)
    return command_for(tmp_path, halo, receiver.url("tcp", name="sensor"), days=3)


def test_no_event_or_answer_acts_on_who_reads_of_it(halo_usm: Command) -> None:
    """Control characters of an event, its type, its id or the API's answers appear as escapes."""
    sync = halo_usm("sync", code=1)
    assert "\\x1b[2J" in sync.stderr, "the API's words"
    life = halo_usm("audit", "--event", f"evil{EVIL}")
    assert "event evil\\x1b[2J" in life.stdout
    assert "\\u202e" in life.stdout
    assert "[red]:smile:" in life.stdout, "no markup of rich's"
    status = halo_usm("status")
    assert "1 event of type '\\x1b[2J" in status.stdout
    check = halo_usm("check", code=1)
    for done in (sync, life, status, check):
        assert harmless(done.stdout + done.stderr)
        assert len(done.stdout + done.stderr) < 20_000


def test_json_is_exact_and_printable(halo_usm: Command, tmp_path: Path) -> None:
    """A program reads back what the event holds; a terminal that shows it takes no harm."""
    halo_usm("sync", code=1)
    life = halo_usm("audit", "--event", f"evil{EVIL}", "--json")
    status = halo_usm("status", "--json")
    answer = json.loads(life.stdout)
    assert answer["event_id"] == f"evil{EVIL}"
    assert answer["staged"]["type"] == EVIL
    assert EVIL in json.loads(status.stdout)["unknown_types"]
    assert harmless(life.stdout + status.stdout)
    assert (life.stdout + status.stdout).isascii()


def test_no_name_on_disk_acts_on_who_reads_of_it(halo_usm: Command, tmp_path: Path) -> None:
    """Accounts, destinations and files that somebody put into the staging."""
    name = EVIL.replace("/", "_")
    halo_usm("sync", code=1)
    staging = tmp_path / "staging"
    for tree in ("raw", "normalized"):
        shutil.copytree(staging / tree / "account=alpha", staging / tree / f"account={name}")
        (staging / tree / name).mkdir()
        day = next((staging / tree / "account=gamma").iterdir())
        (day / f"{name}.parquet").write_bytes(b"")
    (staging / "deliveries" / f"destination={name}" / f"account={name}").mkdir(parents=True)
    del halo_usm.settings["USM_SENSOR"]
    for arguments in (
        ("status",),
        ("transform",),
        ("check",),
        ("audit", "--since", "2020-01-01"),
        ("audit", "--event", "none"),
    ):
        done = halo_usm(*arguments, code=1)
        assert harmless(done.stdout + done.stderr), arguments
        assert "\\x1b" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("audit", "--event", LONG[:60_000]),
        ("audit", "--since", EVIL),
        ("extract", "--until", EVIL),
        ("replay", "--since", "2026-03-01", "--destination", EVIL),
        ("replay", "--since", "2026-03-01", "--only", EVIL),
        ("sync", "--lookback", EVIL),
        ("sync", "--auth", EVIL),
        ("sync", "--starting", EVIL),
        ("status", "--env-file", EVIL),
        ("status", f"--{EVIL}"),
        ("status", EVIL),
        (EVIL,),
        ("export", "--since", "2026-03-01", "--format", "cef", "--output", f"no/{EVIL}"),
    ],
)
def test_no_argument_is_echoed_as_it_is(
    in_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
) -> None:
    """A value that a script passed on from somewhere comes back as escapes, and short."""
    monkeypatch.setenv("USM_SENSOR", "tcp://127.0.0.1:1")
    assert run(arguments) in {1, 2}
    out, err = capfd.readouterr()
    assert harmless(out + err), err
    assert "\\x1b" in err
    assert len(err.splitlines()) == 1
    assert len(err) < 3000
