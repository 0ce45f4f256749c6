"""Foreign files under our names fail one account or destination only, and never block."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sandbox.halo_api import HaloStandIn
from sandbox.receiver import Receiver
from tasks.staging.store import open_store
from tasks.time_window import Window
from tests.flows.command import Command, command_for
from tests.flows.foreign_places import (
    NOW,
    Place,
    circle,
    endless,
    folder,
    impossible,
    no_dates,
    no_ids,
    no_text,
    no_zone,
    nothing,
    nowhere,
    other_schema,
    other_type,
    pipe,
    twice,
    unix_socket,
)
from tests.staging.staged_data import ids, stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from _pytest.mark import ParameterSet

SINCE = (NOW - timedelta(days=3)).isoformat()
COMMANDS = {
    "status": ["status", "--json"],
    "audit": ["audit", "--since", SINCE],
    "event": ["audit", "--event", "nobody"],
    "check": ["check"],
    "export": ["export", "--since", SINCE, "--format", "json", "--output", "exported"],
    "replay": ["replay", "--since", SINCE, "--only", "all"],
    "load": ["load"],
    "transform": ["transform"],
    "extract": ["extract", "--since", SINCE],
    "sync": ["sync"],
}
READERS = {"status", "audit", "check"}
NAMING = {
    "raw": READERS | {"transform", "extract", "sync"},
    "normalized": READERS | {"replay", "export", "load", "transform", "sync"},
    "rejected": READERS | {"transform", "sync"},
    "deliveries": READERS | {"replay", "load", "sync"},
}
"""The commands that need every name of a tree."""
LISTING = NAMING | {"raw": NAMING["raw"] | {"replay", "export"}}
"""The commands that list a tree."""
OPENING = {
    "raw": {"audit", "transform", "sync"},
    "normalized": {"audit", "export", "replay"},
    "rejected": {"audit"},
    "deliveries": {"audit", "replay"},
}
"""The commands that cannot do without a file's rows."""
REMEDIES = ("restore it", "move it out of the staging", "put it right")
CASES = [
    *((pipe, tree, LISTING) for tree in LISTING),
    (unix_socket, "raw", LISTING),
    (endless, "normalized", LISTING),
    (folder, "rejected", LISTING),
    (nowhere, "deliveries", LISTING),
    (circle, "raw", LISTING),
    *((impossible, tree, NAMING) for tree in reversed(NAMING)),
    (no_text, "raw", NAMING),
    *((other_schema, tree, OPENING) for tree in OPENING),
    (other_type, "normalized", OPENING),
    (no_zone, "raw", OPENING),
    (no_ids, "deliveries", OPENING),
    (no_dates, "raw", OPENING),
    (twice, "rejected", OPENING),
    (nothing, "normalized", OPENING),
]


def cases() -> Iterator[ParameterSet]:
    """Some kinds, in a tree each; all of them take minutes and are among the long tests."""
    left = {pipe, folder, impossible, other_schema, no_ids, nothing}
    for put, tree, stopped in CASES:
        marks = [] if put in left else [pytest.mark.soak]
        yield pytest.param(put, tree, stopped, id=f"{put.__name__} in {tree}", marks=marks)
        left.discard(put)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """The command line after a first sync of two accounts, to be copied."""
    home = tmp_path_factory.mktemp("world")
    with HaloStandIn(accounts=2, events=40, days=2) as halo, Receiver("tcp") as receiver:
        command = command_for(home, halo, receiver.url("tcp", name="sensor"), days=3)
        command("sync")
        yield command


@pytest.fixture
def halo_usm(tmp_path: Path, world: Command) -> Command:
    """The command line with a staging of its own, where an event of beta is to be delivered."""
    shutil.copytree(world.folder / "staging", tmp_path / "staging")
    created = NOW - timedelta(days=1)
    one = Window(created, created + timedelta(microseconds=1))
    stage(open_store(str(tmp_path / "staging")), one, [("waiting", created)], "beta")
    settings = world.settings | {"HALO_STAGING": str(tmp_path / "staging")}
    return Command(tmp_path, settings)


def place_in(halo_usm: Command, tree: str) -> Place:
    """A day of alpha's with events; the same folder of a tree that has no file of it."""
    staging = halo_usm.folder / "staging"
    first = min(staging.glob("normalized/account=alpha/date=*/*.parquet")).parent.name
    above = "deliveries/destination=sensor" if tree == "deliveries" else tree
    found = staging / above / "account=alpha" / first
    found.mkdir(parents=True, exist_ok=True)
    return Place(tree, found)


@pytest.mark.parametrize(("put", "tree", "stopped"), list(cases()))
def test_foreign_content_is_one_accounts_trouble(
    halo_usm: Command, put: Callable[[Place], Path], tree: str, stopped: dict[str, set[str]]
) -> None:
    """Every command ends with one message that names the file, and does what else there is."""
    path = put(place_in(halo_usm, tree))
    in_turn = replace(halo_usm, program=("-m", "tests.flows.commands_in_turn"))
    ran = in_turn(json.dumps([*COMMANDS.values()]))
    answers = dict(zip(COMMANDS, json.loads(ran.stdout), strict=True))
    name = str(path.relative_to(halo_usm.folder / "staging"))
    for command, answer in answers.items():
        said = answer["err"] + (answer["out"] if command == "check" else "")
        assert "Traceback" not in said, f"{command}\n{said}"
        assert answer["code"] in {0, 1}, f"{command}\n{said}"
        assert "\x1b" not in said, command
        if command in stopped[tree]:
            assert answer["code"] == 1, f"{command}\n{answer}"
            assert name in said, f"{command}\n{said}"
            assert any(remedy in said for remedy in REMEDIES), said
    assert "beta" in json.loads(answers["status"]["out"])["accounts"]
    store = open_store(str(halo_usm.folder / "staging"))
    assert "waiting" in ids(store, "normalized", "beta")
    if tree != "deliveries":
        assert "1 delivered" in answers["load"]["out"] + answers["sync"]["out"]


def test_names_are_not_taken_for_ours(halo_usm: Command) -> None:
    """Folders whose names are no account or no day are reported, with any characters in them."""
    for path in ("raw/account=a b", "raw/account=\x1b[2J", "raw/account=alpha/date=9999-12-31"):
        (halo_usm.folder / "staging" / path).mkdir()
    said = halo_usm("status", code=1).stderr
    assert "'raw/account=a b' is no account=" in said
    assert "\x1b" not in said
    assert "date=9999-12-31' is no date=" in said
