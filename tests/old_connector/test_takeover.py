"""What the vendor's connector left behind is taken over: its keys, and how far it got."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tasks.errors import InUseError, SettingsError
from tasks.old_connector.reader import read_old_connector
from tasks.old_connector.takeover import plan_takeover, take_over
from tasks.staging.coverage import read_coverage
from tasks.staging.locks import hold
from tasks.time_window import isoformat
from tests.staging.staged_data import stage, window

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.old_connector.takeover import Takeover
    from tasks.staging.store import Store

NOW = datetime.now(UTC).replace(microsecond=123_457)
LIKE_OTHERS = "it begins as any other, at HALO_START or 90 days ago"
TIME = isoformat(NOW - timedelta(days=3))


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The folder of a connector with three keys: of 2015, of 2018, and one that never ran."""
    folder = tmp_path / "old"
    (folder / "configs").mkdir(parents=True)
    (folder / "halo.auth").write_text("# keys\naaa1|s3cret-a\n\nbbb2|s3cret-b\nccc3|s3cret-c\n")
    (folder / "halo.config").write_text(f"aaa1|{TIME}\nccc3|None\n")
    (folder / "configs" / f"bbb2_{TIME.replace(':', '+')}").touch()
    (folder / "configs" / "cef.yml").write_text("version: 0\n")
    return folder


def plan(store: Store, old: Path, tmp_path: Path) -> Takeover:
    """What is to be done."""
    ours = tmp_path / "haloEvents.auth"
    return plan_takeover(store, read_old_connector(old, ours), ours)


def begins(store: Store) -> dict[str, str | None]:
    """Where each account begins."""
    found = {name: read_coverage(store, name).begin for name in store.accounts("raw")}
    return {name: isoformat(begin) if begin else None for name, begin in found.items()}


def test_keys_and_timestamps(store: Store, old: Path, tmp_path: Path) -> None:
    """Each account begins at its own timestamp, whichever version noted it; twice is once."""
    first = plan(store, old, tmp_path)
    assert first.said == [
        f"account aaa1: it begins at {TIME}",
        f"account bbb2: it begins at {TIME}",
        f"account ccc3: no timestamp is found; {LIKE_OTHERS}",
    ]
    assert (first.warnings, first.conflict, begins(store)) == ([], "", {})
    take_over(store, first)
    auth = tmp_path / "haloEvents.auth"
    assert auth.read_text() == "aaa1|s3cret-a\nbbb2|s3cret-b\nccc3|s3cret-c\n"
    assert auth.stat().st_mode & 0o777 == 0o600
    assert begins(store) == {"aaa1": TIME, "bbb2": TIME}
    again = plan(store, old, tmp_path)
    assert again.nothing_to_do
    assert again.said[0] == f"account aaa1: it begins at {TIME} already"


def test_bad_timestamps_are_named(store: Store, old: Path, tmp_path: Path) -> None:
    """What is no time, or cannot be one of Halo's, is a warning; the account begins as others."""
    (old / "halo.config").write_text(
        "aaa1|2026-02-30\nccc3|2031-01-01T00:00:00Z\nddd4|2026-01-01\n"
    )
    found = plan(store, old, tmp_path)
    assert list(found.begins) == ["bbb2"]
    unknown, no_time, future = found.warnings
    assert unknown == "key ddd4 has a timestamp and is in no .auth file: it is left out"
    assert f"its timestamp in {old}/halo.config, '2026-02-30', is no ISO 8601 time" in no_time
    assert "2031-01-01T00:00:00Z, is in the future" in future
    assert all("it begins as any other" in said for said in (no_time, future))


def test_a_secret_in_the_place_of_a_timestamp(store: Store, old: Path, tmp_path: Path) -> None:
    """A copy of the auth file under the name of a timestamp file is not shown."""
    (old / "copy.config").write_text("aaa1|s3cret-a\n")
    (old / "halo.config").unlink()
    [warning] = plan(store, old, tmp_path).warnings
    assert warning == (
        f"account aaa1: its timestamp in {old}/copy.config, ***, is no ISO 8601 time; write one "
        f"such as 2026-03-01T12:30:00Z, or {LIKE_OTHERS}"
    )


def test_several_timestamps(store: Store, old: Path, tmp_path: Path) -> None:
    """Of two timestamps of a key none is believed; the same time twice is one."""
    with (old / "halo.config").open("a") as file:
        file.write(f"bbb2|{TIME}\n")
    assert plan(store, old, tmp_path).begins.keys() == {"aaa1", "bbb2"}
    (old / "configs" / "bbb2_2026-01-01T00+00+00.5Z").touch()
    with pytest.raises(SettingsError, match="account bbb2 has several timestamps: 2026-01-01T00"):
        plan(store, old, tmp_path)


def test_a_line_that_is_no_key(store: Store, old: Path, tmp_path: Path) -> None:
    """It is named by its number, as the connector skipped it, and never shown."""
    (old / "halo.auth").write_text("hunter2hunter2\naaa1|s3cret-a\n")
    [skipped, _] = plan(store, old, tmp_path).warnings
    assert skipped == f"line 1 of {old}/halo.auth is no key_id|secret, and is left out"


def test_our_auth_file_is_not_overwritten(store: Store, old: Path, tmp_path: Path) -> None:
    """One that lacks a key is left as it is; one that has them names the accounts."""
    ours = tmp_path / "haloEvents.auth"
    ours.write_text("aaa1|another\nbbb2|s3cret-b\n")
    found = plan(store, old, tmp_path)
    assert "lacks the connector's key aaa1, ccc3, or has another secret" in found.conflict
    with pytest.raises(SettingsError, match="lacks the connector's key") as refusal:
        take_over(store, found)
    assert "s3cret" not in str(refusal.value)
    assert (ours.read_text(), begins(store)) == ("aaa1|another\nbbb2|s3cret-b\n", {})
    ours.write_text("bbb2|s3cret-b|prod\naaa1|s3cret-a\nccc3|s3cret-c\nmore|s3cret-d\n")
    take_over(store, plan(store, old, tmp_path))
    assert begins(store) == {"aaa1": TIME, "prod": TIME}


def test_in_the_same_folder(store: Store, old: Path) -> None:
    """The connector's auth file may be ours: it stays as it is."""
    text = (old / "halo.auth").rename(old / "haloEvents.auth").read_text()
    ours = old / "haloEvents.auth"
    take_over(store, plan_takeover(store, read_old_connector(old, ours), ours))
    assert (ours.read_text(), len(begins(store))) == (text, 2)


@pytest.mark.parametrize("full", [True, False])
def test_the_auth_file_is_whole_or_not_there(
    store: Store, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, full: bool
) -> None:
    """What a full disk or a kill cut short is no auth file, and the next takeover goes on."""
    found = plan(store, old, tmp_path)
    fsync = os.fsync

    def fail(fd: int) -> None:
        if os.path.samestat(os.fstat(fd), aside.stat()):
            raise OSError(errno.ENOSPC, "No space left on device") if full else KeyboardInterrupt
        fsync(fd)

    aside = tmp_path / f".haloEvents.auth.{os.getpid()}.part"
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        found.begins.clear()
        with pytest.raises(SettingsError if full else KeyboardInterrupt) as fault:
            take_over(store, found)
    if full:
        assert "haloEvents.auth: No space left on device; make room" in str(fault.value)
    assert list(tmp_path.glob("*haloEvents.auth*")) == []
    take_over(store, plan(store, old, tmp_path))
    assert (tmp_path / "haloEvents.auth").read_text().count("\n") == 3


def test_an_auth_file_that_leads_nowhere(store: Store, old: Path, tmp_path: Path) -> None:
    """A link to nothing, or one in a circle, is a fault that is named."""
    ours = tmp_path / "haloEvents.auth"
    for target in ("nowhere", "haloEvents.auth"):
        ours.unlink(missing_ok=True)
        ours.symlink_to(target)
        with pytest.raises(SettingsError, match=r"haloEvents\.auth: File exists; move it away"):
            take_over(store, plan(store, old, tmp_path))


def test_an_account_with_events(store: Store, old: Path, tmp_path: Path) -> None:
    """Where something is staged already, the beginning is not moved; what is between is said."""
    stage(store, window(2, 3), [], "aaa1")
    (old / "halo.config").write_text("aaa1|2026-03-01T00:00:00Z\n")
    found = plan(store, old, tmp_path)
    assert list(found.begins) == ["bbb2"]
    assert found.said[0] == (
        "account aaa1: its timestamp, 2026-03-01T00:00:00Z, changes nothing: something is staged "
        "already, and it begins at 2026-03-01T02:00:00Z; what is between them is read with "
        "`halo-usm extract --since 2026-03-01T00:00:00Z --until 2026-03-01T02:00:00Z`"
    )


def test_an_account_in_use(store: Store, old: Path, tmp_path: Path) -> None:
    """An account that another run holds is not touched, and no auth file is written."""
    found = plan(store, old, tmp_path)
    with hold(store, "account", "aaa1"), pytest.raises(InUseError):
        take_over(store, found)
    assert (begins(store), (tmp_path / "haloEvents.auth").exists()) == ({}, False)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (None, "has no .auth file"),
        ("# none\nnonsense\n", "x.auth has no key_id.secret line"),
        ("aaa1|x\naaa1|y\n", "line 2 of .* has the key aaa1 with another secret"),
        ("aaa1|x\nAAA1|y\n", "differ in case alone"),
        ("aaa1|x|one\nbbb2|y|one\n", "aaa1 and bbb2 have one account"),
        ("caf\udce9|x\n", "no UTF-8"),
    ],
)
def test_refused(store: Store, tmp_path: Path, text: str | None, fault: str) -> None:
    """A folder that is not the connector's, and keys that cannot be told apart."""
    (tmp_path / "old").mkdir()
    if text is not None:
        (tmp_path / "old" / "x.auth").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SettingsError, match=fault):
        plan(store, tmp_path / "old", tmp_path)
    with pytest.raises(SettingsError, match="there is no folder"):
        plan(store, tmp_path / "none", tmp_path)
