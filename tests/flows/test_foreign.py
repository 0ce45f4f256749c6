"""Foreign files under our names fail one account or destination only, and never block."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sandbox.halo_api import HaloStandIn
from sandbox.receiver import Receiver
from tasks.staging.store import open_store
from tasks.time_window import Window
from tests.flows.command import Command, command_for
from tests.staging.staged_data import ids, stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOW = datetime.now(UTC)
SINCE = (NOW - timedelta(days=3)).isoformat()
LIMIT = 100  # seconds for all commands, on a busy machine
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
NAMES = {
    "raw": "{}-0123abcd-5.parquet",
    "normalized": "{}-0123abcd-5-g1-5.parquet",
    "rejected": "{}-0123abcd-5-g1-5.parquet",
    "deliveries": "20260301T120000000000-0123abcd-{}-5-+5.parquet",
}


@dataclass
class Place:
    """Where something foreign is put: a day of account alpha in one tree."""

    tree: str
    folder: Path

    def new(self, span: str = "120000000000-130000000000") -> Path:
        """A name that is ours, but for its window perhaps, and is not there yet."""
        return self.folder / NAMES[self.tree].format(span)

    def there(self) -> Path:
        """A file of ours."""
        if self.tree in {"raw", "rejected"}:
            # one more, for what is done already is not opened again
            name = "extract-0123abcd-5.parquet" if self.tree == "rejected" else self.new().name
            return self.folder / name
        return min(self.folder.glob("*.parquet"))

    def rewrite(self, change: Callable[[pa.Table], pa.Table]) -> Path:
        """Five rows of ours, changed."""
        rows = {
            field.name: pa.array([None] * 5, field.type).fill_null(_value(field.type))
            for field in _schema(self.tree)
        }
        pq.write_table(change(pa.table(rows)), self.there())
        return self.there()


def _schema(tree: str) -> pa.Schema:
    from tasks.staging.schemas import schema_of

    return schema_of(f"{tree}/")


def _value(kind: pa.DataType) -> pa.Scalar:
    value: Any = "x"
    if pa.types.is_timestamp(kind):
        value = NOW
    elif pa.types.is_boolean(kind):
        value = False
    elif not pa.types.is_string(kind):
        value = 1
    return pa.scalar(value, kind)


def pipe(place: Place) -> Path:
    """A named pipe, which nobody writes to."""
    os.mkfifo(place.new())
    return place.new()


def unix_socket(place: Place) -> Path:
    """A socket."""
    with socket.socket(socket.AF_UNIX) as unix:
        here = Path.cwd()
        os.chdir(place.folder)  # a socket's path is short
        unix.bind(place.new().name)
        os.chdir(here)
    return place.new()


def endless(place: Place) -> Path:
    """A link to a device that can be read for ever."""
    place.new().symlink_to("/dev/zero")
    return place.new()


def folder(place: Place) -> Path:
    """A folder."""
    place.new().mkdir()
    return place.new()


def nowhere(place: Place) -> Path:
    """A link to nothing."""
    place.new().symlink_to("nothing")
    return place.new()


def circle(place: Place) -> Path:
    """A link to itself."""
    place.new().symlink_to(place.new().name)
    return place.new()


def impossible(place: Place) -> Path:
    """Clocks that no day has."""
    place.new("256199000000-256200000000").touch()
    return place.new("256199000000-256200000000")


def no_text(place: Place) -> Path:
    """A name that is no UTF-8, and clears the screen."""
    path = os.fsencode(place.folder) + b"/\xff\x1b[2J.parquet"
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    return place.folder


def other_schema(place: Place) -> Path:
    """Another table altogether."""
    return place.rewrite(lambda _: pa.table({"a": [1] * 5}))


def other_type(place: Place) -> Path:
    """A column of another type."""
    return place.rewrite(lambda rows: _set(rows, "event_id", pa.array(range(5))))


def no_zone(place: Place) -> Path:
    """Times without a zone."""
    times = pa.array([NOW.replace(tzinfo=None)] * 5, pa.timestamp("us"))
    return place.rewrite(lambda rows: _set(rows, "created_at", times))


def no_ids(place: Place) -> Path:
    """Rows without an id."""
    return place.rewrite(lambda rows: _set(rows, "event_id", pa.nulls(5, pa.string())))


def no_dates(place: Place) -> Path:
    """Rows without a date."""
    kind = pa.timestamp("us", "UTC")
    return place.rewrite(lambda rows: _set(rows, "created_at", pa.nulls(5, kind)))


def twice(place: Place) -> Path:
    """A column that is there twice."""
    return place.rewrite(lambda rows: rows.append_column("event_id", rows["event_id"]))


def nothing(place: Place) -> Path:
    """An empty file."""
    place.there().write_bytes(b"")
    return place.there()


def _set(rows: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return rows.set_column(rows.schema.get_field_index(name), name, column)


CASES = [
    *((pipe, tree, LISTING) for tree in LISTING),
    (unix_socket, "raw", LISTING),
    (endless, "normalized", LISTING),
    (folder, "rejected", LISTING),
    (nowhere, "deliveries", LISTING),
    (circle, "raw", LISTING),
    *((impossible, tree, NAMING) for tree in NAMING),
    (no_text, "raw", NAMING),
    *((other_schema, tree, OPENING) for tree in OPENING),
    (other_type, "normalized", OPENING),
    (no_zone, "raw", OPENING),
    (no_ids, "deliveries", OPENING),
    (no_dates, "raw", OPENING),
    (twice, "rejected", OPENING),
    (nothing, "normalized", OPENING),
]


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


@pytest.mark.parametrize(
    ("put", "tree", "stopped"), CASES, ids=[f"{put.__name__} in {tree}" for put, tree, _ in CASES]
)
def test_foreign_content_is_one_accounts_trouble(
    halo_usm: Command, put: Callable[[Place], Path], tree: str, stopped: dict[str, set[str]]
) -> None:
    """Every command ends with one message that names the file, and does what else there is."""
    path = put(place_in(halo_usm, tree))
    ran = subprocess.run(
        [sys.executable, "-m", "tests.flows.commands_in_turn"],
        input=json.dumps(list(COMMANDS.values())),
        cwd=halo_usm.folder,
        env=halo_usm.environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    )
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
    for folder in ("raw/account=a b", "raw/account=\x1b[2J", "raw/account=alpha/date=9999-12-31"):
        (halo_usm.folder / "staging" / folder).mkdir()
    said = halo_usm("status", code=1).stderr
    assert "'raw/account=a b' is no account=" in said
    assert "\x1b" not in said
    assert "date=9999-12-31' is no date=" in said
