"""The commands of the documentation, run as they are written."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from sandbox.halo_api import HaloStandIn
from sandbox.receiver import Receiver
from tests.documented_commands import blocks, run, script
from tests.documents import PAGES, README, ROOT
from tests.flows.command import command_for

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = 20
NOT_RUN = {
    ("README.md", "each runs until it is stopped;"): 1,
    ("README.md", "it opens a browser;"): 1,
    ("deploy.md", "it needs Docker or podman."): 2,
    ("deploy.md", "it needs root."): 1,
    ("deploy.md", "it needs root and a running systemd."): 1,
    ("from-the-old-connector.md", "it needs the connector's folder."): 2,
    ("object-storage.md", "the AWS command line needs an account at AWS"): 2,
    ("prefect.md", "it runs until it is stopped;"): 2,
    ("prefect.md", "it needs the deployments;"): 1,
    ("prefect.md", "it needs a notification block;"): 1,
    ("prefect.md", "the server has to be started with it."): 1,
    ("scale.md", "it takes some minutes."): 1,
    ("scale.md", "they run until they are stopped;"): 1,
    ("upgrade.md", "there is no newer version to fetch."): 1,
}
"""How many blocks of a page are not run, by how their reason begins."""
ELSEWHERE = {
    "from-the-old-connector.md": "tests/old_connector/test_page.py",
    "object-storage.md": "tests/flows/test_object_storage.py",
}
"""Pages whose commands another test runs, with the server that they are about."""


def test_only_these_blocks_are_not_run() -> None:
    """Each for a reason that the page gives."""
    found = [(page.name, block.reason) for page in PAGES for block in blocks(page)]
    excused = [(page, reason) for page, reason in found if reason]
    for (page, begin), count in NOT_RUN.items():
        assert sum(page == name and why.startswith(begin) for name, why in excused) == count
    assert len(excused) == sum(NOT_RUN.values())
    assert len(found) > 2 * len(excused)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    """Each can be made."""
    for target in [target for block in blocks(page) for target in block.make_targets]:
        subprocess.run(["make", target, "--dry-run"], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if script(page) and page.name not in ELSEWHERE],
    ids=lambda page: page.name,
)
def test_commands_work_as_they_are_written(page: Path, tmp_path: Path) -> None:
    """Every shell block of a page, in order, in one shell, with a stand-in and a receiver."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with HaloStandIn(accounts=1, events=EVENTS, days=1) as halo, Receiver("tcp") as receiver:
        halo_usm = command_for(elsewhere, halo, receiver.url("tcp"), days=2)
        halo_usm.settings["HALO_STAGING"] = str(tmp_path / "staging")
        run(page, tmp_path, halo_usm.settings)
        if "halo-usm sync" in script(page):
            assert len(set(receiver.messages("tcp"))) == EVENTS
    if page == README:
        assert "KEY_ID" in (tmp_path / "haloEvents.auth").read_text()
        assert (tmp_path / "march.leef").exists()
