"""The page about the move names nothing that does not exist."""

from __future__ import annotations

import re

import pytest

from flows.cli.app import app
from tasks.settings import Settings
from tasks.syslog.sensor_url import KINDS
from tests.documents import ROOT

PAGE = (ROOT / "docs" / "from-the-old-connector.md").read_text("utf-8")
FLAGS = [
    line.split(" | ")[-1] for line in PAGE.splitlines() if re.match(r"\| .*\b201[58] \| ", line)
]


def test_every_flag_of_the_connector_is_there() -> None:
    """Those of its two usage texts."""
    flags = (
        "auth url port starting limit sleep threads batchsize configdir bucket jsonfile halite ha "
        "redis cef ceffile leeffile kv kvfile leefsyslog cefsyslog kvsyslog facility sumologic"
    )
    assert [flag for flag in flags.split() if f"`--{flag}" not in PAGE] == []


def test_what_replaces_them_exists() -> None:
    """Settings, sensor options, and options of commands."""
    text = " ".join(FLAGS)
    assert len(FLAGS) > 20
    settings = set(re.findall(r"\b(?:HALO|USM)_[A-Z_]+", text))
    assert settings
    assert settings <= {name.upper() for name in Settings.model_fields}
    options = {option for kind in KINDS.values() for option in kind.options()}
    assert set(re.findall(r"`(\w+)=`", text)) <= options


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"halo-usm ([a-z-]+[^`\n]*)", PAGE))), ids=str
)
def test_every_command_is_understood(command: str) -> None:
    """As far as parsing goes: its options exist and take such values."""
    words = command.split()
    words = [
        {"FOLDER": ".", "FILE": "x", "T": "2026-01-01", "T2": "2026-01-02"}.get(w, w) for w in words
    ]
    if words[0] == "export":
        words += ["--since", "2026-01-01"]
    app.parse_args(words, exit_on_error=False, print_error=False)
