"""What may be wrong around a command: one message that names it and what to do, never a trace."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.flows.command import EVENTS, ROOT, Command, command_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.halo_api import HaloStandIn
    from sandbox.receiver import Receiver

FLOWS = (sys.executable, "-m", "flows")
FULL = Path("/dev/full")
LONG = "a" * 5000
RIGHT = "give this user the right to it"
LOAD = ("load",)
STATUS = ("status",)
SYNC = ("sync",)


@dataclass(frozen=True)
class Case:
    """A command, what is wrong around it, and what it is to say.

    Attributes:
        arguments: Of the command.
        code: The exit code.
        said: What its message holds: the value or file at fault, the remedy.
        settings: Environment variables; bytes are passed as they are.
        shell: How the command is run, by `sh`; without, as it is.
    """

    arguments: tuple[str | bytes, ...]
    code: int
    said: tuple[str, ...]
    settings: Mapping[str, str | bytes] = field(default_factory=dict)
    shell: str = 'exec "$@"'


CASES = {
    "no minutes for a dry run": Case(
        ("replay", "--since", "2026-03-01", "--dry-run", "--wait=-1"),
        2,
        ("--wait: -1 is not a number of minutes", "write 0 or more"),
    ),
    # no permission
    "working folder": Case(
        STATUS, 2, (".env: Permission denied", RIGHT), shell='cd closed-later; chmod 0 .; "$@"'
    ),
    "settings file": Case(
        (*STATUS, "--env-file", "closed.file"), 2, ("closed.file: Permission denied", RIGHT)
    ),
    "staging": Case(
        STATUS, 1, ("closed/raw: Permission denied", "HALO_STAGING"), {"HALO_STAGING": "closed"}
    ),
    "staging's folder": Case(
        STATUS, 2, ("HALO_STAGING", "closed/x/y", RIGHT), {"HALO_STAGING": "closed/x/y"}
    ),
    "auth file": Case(
        SYNC, 2, ("HALO_AUTH_FILE", "closed.file", RIGHT), {"HALO_AUTH_FILE": "closed.file"}
    ),
    "ca": Case(
        LOAD, 2, ("ca=", "closed.file", RIGHT), {"USM_SENSOR": "tls://h:6514?ca=closed.file"}
    ),
    "key": Case(
        LOAD,
        2,
        ("key=", "closed.file", RIGHT),
        {"USM_SENSOR": "tls://h:6514?cert=closed.file&key=closed.file"},
    ),
    "output": Case(
        ("export", "--since", "2026-03-01", "--format", "cef", "--output", "closed/x"),
        1,
        ("--output", "closed/x: Permission denied", RIGHT),
    ),
    # paths that are none
    "no such user": Case(
        STATUS, 2, ("HALO_STAGING: '~nouser/x'", "in full"), {"HALO_STAGING": "~nouser/x"}
    ),
    "no such user's keys by flag": Case(
        (*SYNC, "--auth", "~nouser/x"), 2, ("HALO_AUTH_FILE: '~nouser/x'", "in full")
    ),
    "NUL in a settings file": Case(
        (*STATUS, "--env-file", "nul.env"), 2, ("line 2 of nul.env", "NUL", "write the line anew")
    ),
    "NUL in a certificate's path": Case(
        LOAD, 2, ("ca=", "correct the path"), {"USM_SENSOR": "tls://h:6514?ca=%00"}
    ),
    "long staging": Case(
        STATUS, 2, ("HALO_STAGING: 'aaa", "…", "write a shorter path"), {"HALO_STAGING": LONG}
    ),
    "long option": Case((*STATUS, f"--{LONG}"), 2, ("--aaa", "…", "See halo-usm status --help")),
    # what is no text
    "settings file in Latin-1": Case(
        (*STATUS, "--env-file", "latin.env"), 2, ("latin.env", "no UTF-8", "write it anew in UTF-8")
    ),
    "time in Latin-1": Case(
        ("audit", "--since", b"\xe9"), 2, ("--since: '\\udce9' is no ISO 8601", "write one")
    ),
    "destination in Latin-1": Case(
        ("replay", "--since", "2026-03-01", "--destination", b"\xe9"),
        2,
        ("--destination: there is no destination '\\udce9'; there is",),
    ),
    "another language's folder": Case(
        STATUS, 2, ("HALO_STAGING", "\\udce9/data' is no UTF-8"), {}, 'cd "$(cat latin)"; "$@"'
    ),
    # Prefect
    "Prefect's API": Case(
        SYNC, 2, ("PREFECT_API_URL", "write one such as"), {"PREFECT_API_URL": "http://[::1/"}
    ),
    "Prefect's own settings": Case(
        SYNC,
        2,
        ("request_timeout", "valid number", "PREFECT_ variables"),
        {"PREFECT_API_URL": "http://127.0.0.1:1/api", "PREFECT_API_REQUEST_TIMEOUT": "soon"},
    ),
    # this machine
    "few open files": Case(
        SYNC, 2, ("open files", "allows 16", "ulimit -n 1024"), {}, 'ulimit -n 16; exec "$@"'
    ),
    "no working folder": Case(
        STATUS,
        2,
        ("working folder is no longer there", "change into"),
        {},
        'cd gone; rmdir ../gone; "$@"',
    ),
    "no working folder for the keys": Case(
        SYNC,
        2,
        ("working folder is no longer there", "change into"),
        {"HALO_STAGING": "/nowhere/staging"},
        'cd gone; rmdir ../gone; "$@"',
    ),
    "output on a full disk": Case(
        (*STATUS, "--json"),
        1,
        ("output cannot be written: No space", "make room"),
        {},
        '"$@" >/dev/full',
    ),
    "messages on a full disk": Case((*STATUS, "--colour"), 2, (), {}, '"$@" 2>/dev/full'),
    "everything on a full disk": Case((*STATUS, "--json"), 1, (), {}, '"$@" >/dev/full 2>&1'),
    "output that nobody reads": Case(
        (*STATUS, "--json"), 1, (), {}, '{ "$@"; echo $? >code; } | sleep 0; exit $(cat code)'
    ),
    "no output": Case((*STATUS, "--json"), 0, (), {}, '"$@" >&-'),
    "no messages": Case((*STATUS, "--colour"), 2, (), {}, '"$@" 2>&-'),
}


@pytest.fixture
def as_user(tmp_path: Path) -> list[str]:
    """What a command begins with that has no more rights than its user."""
    if os.geteuid():
        return []
    if not shutil.which("setpriv"):
        pytest.skip("root may read everything, and there is no setpriv to give that up")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with some files that are not as they should be."""
    for name in ("closed", "closed-later", "gone"):
        (tmp_path / name).mkdir()
    for name in ("closed/x.env", "closed.file"):
        (tmp_path / name).write_text("key|secret\n")
    (tmp_path / "auth").write_text("key|secret\n")
    (tmp_path / "nul.env").write_bytes(b"HALO_CONCURRENCY=2\nHALO_STAGING=a\0b\n")
    (tmp_path / "latin.env").write_bytes(b"HALO_STAGING=caf\xe9\n")
    (tmp_path / "latin").write_bytes(b"\xe9")
    os.mkdir(os.fsencode(tmp_path) + b"/\xe9")  # noqa: PTH102 - a name that is no text
    for name in ("closed", "closed.file"):
        (tmp_path / name).chmod(0)
    return tmp_path


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_one_message(folder: Path, as_user: list[str], name: str) -> None:
    """The exit code, the value or file at fault, what to do; nothing else, and no trace."""
    case = CASES[name]
    if "/dev/full" in case.shell and not FULL.exists():
        pytest.skip("needs /dev/full, which Linux has")
    standing = {
        "HALO_API_URL": "http://127.0.0.1:1",
        "HALO_AUTH_FILE": "auth",
        "USM_SENSOR": "tcp://127.0.0.1:1",
    }
    environment: dict[str, str | bytes] = {**os.environ, **standing, "PYTHONPATH": str(ROOT)}
    environment.update(case.settings)
    environment.pop("PYTHONUNBUFFERED", None)  # what is written last is written at the end
    done = run_in_shell(case.shell, *as_user, *FLOWS, *case.arguments, cwd=folder, env=environment)
    said = done.stderr.decode()
    assert done.returncode == case.code, said
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    assert all(text in said for text in case.said), said
    ours = [line for line in said.splitlines() if line.startswith(("halo-usm: ", "error: "))]
    assert len(ours) == bool(case.said), said
    assert len(said) < 3000
    if name != "Prefect's own settings":  # it writes a log of its own
        assert ours == said.splitlines()


def test_messages_that_cannot_be_written_stop_no_delivery(
    tmp_path: Path, halo: HaloStandIn, receiver: Receiver
) -> None:
    """Standard error on a full disk: the events are delivered, and the exit code says so."""
    if not FULL.exists():
        pytest.skip("needs /dev/full, which Linux has")
    halo_usm = command_for(tmp_path, halo, receiver.url("tcp"), days=4)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    halo["alpha"].add([b'{"type": "of no id, which is a note"}'], created_at=yesterday)
    environment = halo_usm.environment
    done = run_in_shell('"$@" 2>/dev/full', *FLOWS, "sync", cwd=tmp_path, env=environment)
    assert len(receiver.messages("tcp")) == EVENTS
    assert done.returncode == 0


def test_output_that_knows_no_other_letters_shows_their_escapes(tmp_path: Path) -> None:
    """A name in another script crashes no answer where only ASCII can be written."""
    halo_usm = sampled(tmp_path / "caf\xe9")
    halo_usm.settings["PYTHONIOENCODING"] = "ascii"
    assert "production is covered from" in halo_usm("status").stdout
    assert "caf\\xe9" in halo_usm("check", code=1).stdout
    assert "event \\xfc is not in" in halo_usm("audit", "--event", "\xfc", code=1).stderr


def test_a_question_needs_neither_a_home_nor_many_files(tmp_path: Path) -> None:
    """Where HOME is not set and few files may be open, a staging answers all the same."""
    halo_usm = sampled(tmp_path)
    environment = {name: value for name, value in halo_usm.environment.items() if name != "HOME"}
    for arguments in (("status",), ("audit", "--since", "2000-01-01")):
        done = run_in_shell(
            'ulimit -n 16; exec "$@"', *FLOWS, *arguments, cwd=tmp_path, env=environment
        )
        assert done.returncode == 0, done.stderr.decode()


def run_in_shell(
    script: str, *command: str | bytes, cwd: Path, env: Mapping[str, str | bytes]
) -> subprocess.CompletedProcess[bytes]:
    """Run a command as the arguments of a shell script, without input."""
    return subprocess.run(
        ["sh", "-c", script, "sh", *command],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=100,
        check=False,
    )


def sampled(folder: Path) -> Command:
    """The command line in a folder with a staging in it."""
    shutil.copytree(ROOT / "data" / "sample", folder / "data")
    return Command(folder)
