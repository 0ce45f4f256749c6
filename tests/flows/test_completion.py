"""`halo-usm completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.flows.command import Command

if TYPE_CHECKING:
    from pathlib import Path


def script(folder: Path, shell: str) -> Path:
    """The script of a shell, in a file."""
    path = folder / f"completion.{shell}"
    process = Command(folder).popen("completion", shell, stdout=path)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    return path


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("halo-usm repl", "replay"),
        ("halo-usm replay --dest", "--destination"),
        ("halo-usm replay --only und", "undelivered"),
    ],
)
def test_bash_completes_commands_options_and_values(
    tmp_path: Path, typed: str, offered: str
) -> None:
    """What is typed has one continuation."""
    words = " ".join(f"'{word}'" for word in typed.split())
    lines = (
        f"source {script(tmp_path, 'bash')}",
        f"COMP_WORDS=({words}) COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))",
        "$(complete -p halo-usm | sed -E 's/.*-F ([^ ]+) .*/\\1/')",
        'echo "${COMPREPLY[@]}"',
    )
    said = subprocess.run(
        ["bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=True
    )
    assert (said.stdout, said.stderr) == (f"{offered}\n", "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_can_read_their_script(tmp_path: Path, shell: str) -> None:
    """It names the commands, and the shell, where it is there, finds no error in it."""
    path = script(tmp_path, shell)
    assert {"sync", "replay", "completion"} <= set(re.findall(r"\w+", path.read_text()))
    if program := shutil.which(shell):
        subprocess.run([program, "--no-execute", path], check=True)
