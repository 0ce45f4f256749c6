"""The commands of the documentation, run as they are written."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from sandbox.halo_api import HaloStandIn
from sandbox.receiver import Receiver
from tests.documented_commands import blocks, fresh_folder
from tests.documents import PAGES, README, ROOT
from tests.flows.command import command_for

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = 50
NOT_RUN = {
    ("deploy.md", "it needs Docker or podman."): 2,
    ("deploy.md", "it needs root."): 1,
    ("deploy.md", "it needs root and a running systemd."): 1,
    ("object-storage.md", "the AWS command line needs an account at AWS"): 2,
    ("upgrade.md", "there is no newer version to fetch."): 1,
}
"""How many blocks of a page are not run, by how their reason begins."""


def test_only_these_blocks_are_not_run() -> None:
    """Each for a reason that the page gives."""
    reasons = [(page.name, block.reason) for page in PAGES for block in blocks(page)]
    excused = [(page, reason) for page, reason in reasons if reason]
    assert len(excused) == sum(NOT_RUN.values())
    for (page, reason), count in NOT_RUN.items():
        begins = [told for name, told in excused if name == page and told.startswith(reason)]
        assert len(begins) >= count, reason
    assert len(reasons) > 2 * len(excused)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    """Each can be made."""
    for target in [target for block in blocks(page) for target in block.make_targets]:
        subprocess.run(["make", target, "--dry-run"], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(b.script.strip() and not b.reason for b in blocks(page))],
    ids=lambda page: page.name,
)
def test_commands_work_as_they_are_written(page: Path, tmp_path: Path) -> None:
    """Every shell block of a page, in order, in one shell, with a stand-in and a receiver."""
    fresh_folder(tmp_path)
    script = "\n".join(block.script for block in blocks(page) if not block.reason)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with HaloStandIn(accounts=2, events=EVENTS, days=1) as halo, Receiver("tcp") as receiver:
        # The environment wins over what the lines write into .env and the auth file's name.
        halo_usm = command_for(elsewhere, halo, receiver.url("tcp"), days=2)
        halo_usm.settings["HALO_STAGING"] = str(tmp_path / "staging")
        ended = subprocess.run(
            ["sh", "-e", "-c", script],
            cwd=tmp_path,
            env=os.environ | halo_usm.settings,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        if "halo-usm sync" in script:
            assert len(set(receiver.messages("tcp"))) == EVENTS
    if page == README:
        assert "KEY_ID" in (tmp_path / "haloEvents.auth").read_text()
        assert (tmp_path / "march.leef").exists()
