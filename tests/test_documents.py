"""Documentation: what it takes from declarations, and that its commands exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows.cli.app import app
from sandbox.halo_api import HaloStandIn
from sandbox.receiver import Receiver
from tasks.plugin.fields import FIELDS
from tasks.syslog.sensor_url import KINDS
from tests.documents import FIELDS_PAGE, README, ROOT, fields_page, readme
from tests.flows.command import command_for

_BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def commands() -> list[str]:
    """Every command line of the README's shell blocks."""
    blocks = _BLOCK.findall(README.read_text("utf-8").replace("\n   ", "\n"))
    lines = "\n".join(blocks).splitlines()
    return [line.partition("#")[0].strip() for line in lines if line.strip()]


def test_the_page_of_fields_says_what_is_declared() -> None:
    """`make golden` was run since the declaration changed."""
    assert FIELDS_PAGE.read_text("utf-8") == fields_page()


def test_the_tables_of_settings_and_options_say_what_is_declared() -> None:
    """Every setting and every option of a sensor URL is in the README, with default and meaning."""
    text = README.read_text("utf-8")
    assert readme(text) == text
    for kind in KINDS.values():
        assert all(f"| `{option}` |" in text for option in kind.options())


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("make ")])
def test_make_targets_of_the_readme_exist(command: str) -> None:
    """Each can be made."""
    subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


def test_the_set_up_of_the_readme_works_as_it_is_written(tmp_path: Path) -> None:
    """Every halo-usm command and every shell line around them, in order, in one shell."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "sensor-ca.pem").touch()
    lines = [line for line in commands() if not re.match(r"make|export|.*prefect|.*alerts", line)]
    assert sum("halo-usm" in line for line in lines) >= 8
    with HaloStandIn(accounts=2, events=50) as halo, Receiver("tcp") as receiver:
        # The environment wins over what the lines write into .env and the auth file's name.
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        halo_usm = command_for(elsewhere, halo, receiver.url("tcp"))
        subprocess.run(
            ["sh", "-e", "-c", "\n".join(lines)],
            cwd=tmp_path,
            env=os.environ | halo_usm.settings,
            check=True,
            timeout=100,
        )
        assert len(receiver.messages("tcp")) == 50
    assert "KEY_ID" in (tmp_path / "haloEvents.auth").read_text()
    assert (tmp_path / "march.leef").exists()


def test_the_notebook_lines_of_the_readme_open_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample that ships has every column of the present mapping, and accounts as text."""
    monkeypatch.chdir(ROOT)
    [lines] = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(lines, names)
    events = names["events"]
    assert list(events.columns[: len(FIELDS)]) == [field.name for field in FIELDS]
    assert set(events["account"]) == {"alpha", "beta"}
    assert len(events) == 240


def test_links_of_the_readme_lead_somewhere() -> None:
    """No link to a file that is not there."""
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README.read_text("utf-8")):
        assert (ROOT / Path(target)).exists(), target


def test_contributing_names_files_that_are_there_and_hold_what_it_says() -> None:
    """Every path of its table exists, and defines the names behind it."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    rows = re.findall(r"^\| (?!to change|---)(.+) \| (.+) \|$", text, re.MULTILINE)
    assert len(rows) >= 9
    for change, answer in rows:
        paths = re.findall(r"`([a-z_]+/[\w/.]+)`(?: \(`(\w+)`\))?", answer)
        assert paths, change
        for path, name in paths:
            assert (ROOT / path).exists(), path
            if name:
                defines = rf"^(?:class |(?:async )?def )?{name}\b"
                assert re.search(defines, (ROOT / path).read_text("utf-8"), re.MULTILINE), name


def test_every_command_has_an_example_that_is_understood() -> None:
    """`--help` of each command shows one."""
    names = [name for name in app if not name.startswith("-")]
    assert {"demo", "check", "sync", "load", "replay", "status"} <= set(names)
    for name in names:
        example = str(app[name].help_epilogue).removeprefix("Example: halo-usm ")
        assert example.startswith(name)
        app.parse_args(shlex.split(example), exit_on_error=False)
