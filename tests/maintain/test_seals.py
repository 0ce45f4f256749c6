from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from tasks.errors import SettingsError
from tasks.maintain.maintenance_run import MaintenanceRun
from tasks.maintain.retention import drop_account
from tasks.maintain.sealing import seal_account
from tasks.reports.verification import verify
from tasks.staging.seals.signatures import read_signing_key, read_verifying_key
from tasks.staging.storage.remote_files import RemoteFiles
from tasks.staging.store import Store, open_store
from tests.load.helpers import load
from tests.maintain.aged import DAYS as DAYS_STAGED
from tests.maintain.aged import KEPT, age, maintain
from tests.maintain.sealed_days import (
    DAYS,
    EVENTS,
    OVER,
    deliver_days,
    late_event,
    only_seal,
    seal,
    seals,
    write_keys,
)
from tests.staging.crashing import start
from tests.staging.staged_data import at

if TYPE_CHECKING:
    from pathlib import Path

    from tests.staging.rejecting_receiver import RejectingReceiver


def test_seals_of_days_are_numbered_and_chained(store: Store, tmp_path: Path) -> None:
    """Each day that is over gets one seal, in order, for its owner alone, and no second one."""
    deliver_days(store)
    run = MaintenanceRun(store, "alpha", [], OVER)
    assert seal_account(replace(run, dry_run=True)).sealed == DAYS
    assert not (tmp_path / "seals").exists()
    assert seal_account(replace(run, now=at(23, day=DAYS - 1))).sealed == DAYS - 1
    done = seal(store)
    assert (done.sealed, done.problems) == (1, [])
    found = seals(store)
    assert f"number {DAYS} (2026-03-03.json), its SHA-256 {found[-1].sha256}" in done.notes[0]
    assert [one.name for one in found] == ["2026-03-01.json", "2026-03-02.json", "2026-03-03.json"]
    sums = json.loads(found[0].seal.to_bytes())["sums"]
    assert sums == {
        "raw": EVENTS,
        "normalized": EVENTS - 1,
        "rejected": {"extract": 1, "transform": 1},
        "destinations": {"sensor": {"attempts": EVENTS - 1, "delivered": EVENTS - 1}},
    }
    folder = tmp_path / "seals" / "account=alpha"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert seal(store).sealed == 0


def test_a_day_that_changed_is_sealed_again(store: Store) -> None:
    """Late events give a day a second seal, behind all that were written before."""
    deliver_days(store)
    seal(store)
    late_event(store, 0)
    assert not verify(store).problems
    assert seal(store).sealed == 1
    last = seals(store)[-1]
    assert (last.name, last.seal.number) == ("2026-03-01.2.json", DAYS + 1)
    assert last.seal.sums.raw == EVENTS + 1


def test_what_was_taken_away_is_said(store: Store, tmp_path: Path) -> None:
    """A day that has fewer events than its seal told is sealed, and said, now and ever after."""
    deliver_days(store)
    day = "account=alpha/date=2026-03-01"
    before = {path: path.read_bytes() for path in tmp_path.glob(f"*/{day}/*")}
    late_event(store, 0)
    seal(store)
    for path in tmp_path.glob(f"*/{day}/*-c1*"):
        path.unlink()
    for path, content in before.items():
        path.write_bytes(content)
    assert "is not there any more" in str(verify(store).disagrees)
    [problem] = seal(store).problems
    assert "fewer raw events (20 in the place of 21)" in problem
    assert "fewer raw events (20 in the place of 21)" in str(verify(store).disagrees)


def test_two_at_once(store: Store) -> None:
    """Several that seal at the same time give each day one seal, and each number once."""
    deliver_days(store)
    with ThreadPoolExecutor(4) as pool:
        done = [*pool.map(lambda _: seal(open_store(str(store))), range(4))]
    assert sum(one.sealed for one in done) == DAYS
    assert [problem for one in done for problem in one.problems] == []
    assert len(seals(store)) == DAYS


@pytest.mark.parametrize("name", ["2026-03-02.json", "notes.json", "2026-03-09.json"])
def test_a_number_that_is_unknown_is_not_given(store: Store, tmp_path: Path, name: str) -> None:
    """With a torn seal, or a foreign file among seals, nothing is sealed before it is put right."""
    deliver_days(store)
    seal(store)
    late_event(store, 0)
    path = tmp_path / "seals" / "account=alpha" / name
    whole = path.read_bytes() if path.exists() else None
    path.write_bytes(b'{"account": ')
    done = seal(store)
    assert done.sealed == 0
    assert f"seals/account=alpha/{name} is no " in done.problems[0]
    assert " not sealed: " in done.problems[-1]
    if whole is None:
        path.unlink()
    else:
        path.write_bytes(whole)
    assert seal(store).sealed == 1
    assert len(seals(store)) == DAYS + 1


def test_the_highest_number_twice(store: Store, tmp_path: Path) -> None:
    """Nobody knows which of the two the next seal is to name, and so there is none."""
    deliver_days(store)
    seal(store)
    late_event(store, 0)
    last = tmp_path / "seals" / "account=alpha" / "2026-03-03.json"
    last.with_name("2026-03-03.2.json").write_bytes(last.read_bytes())
    done = seal(store)
    assert done.sealed == 0
    assert "bear the same number; move the false one out" in done.problems[-1]


def test_a_number_is_given_once(store: Store, tmp_path: Path) -> None:
    """Where a seal was removed the numbers go on behind the highest, and the gap stays known."""
    deliver_days(store)
    seal(store)
    late_event(store, 0)
    removed = tmp_path / "seals" / "account=alpha" / "2026-03-02.json"
    content = removed.read_bytes()
    removed.unlink()
    done = seal(store)
    assert done.sealed == 2
    assert "seal 2 is not there" in done.problems[0]
    removed.write_bytes(content)
    names = [(one.seal.number, one.name) for one in seals(store)]
    assert names[-2:] == [(4, "2026-03-01.3.json"), (5, "2026-03-02.2.json")]


def test_retention_keeps_what_is_still_to_be_sealed(
    store: Store, receiver: RejectingReceiver, tmp_path: Path
) -> None:
    """A maintenance that cannot seal drops nothing; the next one that can does both."""
    url = receiver.url()
    age(store)
    load(store, url)
    folder = tmp_path / "seals" / "account=alpha"
    (folder / "2026-03-01.json").mkdir(parents=True)
    done = maintain(store, url)
    assert (done.days_sealed, done.days_dropped) == (0, 0)
    assert "sealing comes first" in str(done.notes)
    (folder / "2026-03-01.json").rmdir()
    done = maintain(store, url)
    assert (done.days_sealed, done.days_dropped) == (DAYS_STAGED - 1, DAYS_STAGED - KEPT)
    assert verify(store).accounts["alpha"].dropped_days == DAYS_STAGED - KEPT


def test_what_does_not_add_up_is_not_sealed(store: Store, tmp_path: Path) -> None:
    """A damaged file, or one whose rows are not those its name tells, gets no seal."""
    deliver_days(store)
    [first] = tmp_path.glob("raw/account=alpha/date=2026-03-01/*")
    [second] = tmp_path.glob("raw/account=alpha/date=2026-03-02/*")
    first.write_bytes(b"PAR1")
    pq.write_table(pq.read_table(second, partitioning=None).slice(1), second)
    done = seal(store)
    assert done.sealed == 1
    assert len(done.problems) == 2


def test_object_storage(tmp_path: Path) -> None:
    """Seals are the same where pyarrow's file systems hold the staging."""
    (tmp_path / "bucket").mkdir()
    bucket = fs.SubTreeFileSystem(str(tmp_path / "bucket"), fs.LocalFileSystem())
    store = Store(RemoteFiles(bucket, "prefix"))
    deliver_days(store)
    assert seal(store).sealed == DAYS
    assert len(seals(store)) == DAYS
    assert verify(store).verified


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_a_kill(tmp_path: Path, every: bool) -> None:  # noqa: FBT001 - a parameter
    """Killed at one operation of each kind, or at any: the next run goes on, with no seal twice."""
    source, whole, record = (tmp_path / name for name in ("source", "whole", "record"))
    deliver_days(open_store(str(source)), days=2)
    shutil.copytree(source, whole)
    start(whole, "", None, record, only_seal).join()
    kinds = record.read_text().splitlines()
    last_of_kind = {kind: step for step, kind in enumerate(kinds)}
    assert len(last_of_kind) > 4
    for step in range(len(kinds)) if every else last_of_kind.values():
        folder = tmp_path / str(step)
        shutil.copytree(source, folder)
        child = start(folder, "", step, None, only_seal)
        child.join()
        assert child.exitcode == -signal.SIGKILL
        store = open_store(str(folder))
        before = seals(store) if (folder / "seals").exists() else []
        assert seal(store).sealed == 2 - len(before)
        assert seals(store)[: len(before)] == before
        assert verify(store).verified


def test_keys(tmp_path: Path) -> None:
    """A key is read and named as OpenSSL does; what is none is a message with the remedy."""
    private, public = tmp_path / "key.pem", tmp_path / "public.pem"
    openssl = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(private)]
    subprocess.run(openssl, check=True, capture_output=True)
    openssl = ["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)]
    subprocess.run(openssl, check=True, capture_output=True)
    private.chmod(0o640)
    key = read_signing_key(private)
    assert "chmod 600" in key.warning
    assert key.name == read_verifying_key(public).name
    with pytest.raises(SettingsError, match="is no Ed25519 private key in PEM"):
        read_signing_key(public)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SettingsError, match="is a pipe, which can be read once alone"):
        read_signing_key(tmp_path / "pipe")
    with pytest.raises(SettingsError, match="is no Ed25519 public key in PEM"):
        read_verifying_key(private)
    with pytest.raises(SettingsError, match="No such file"):
        read_signing_key(tmp_path / "nothing")
    os.truncate(private, 0)
    with pytest.raises(SettingsError, match="openssl genpkey"):
        read_signing_key(private)


def test_signed(store: Store, tmp_path: Path) -> None:
    """Each seal bears the signature of the key that it names."""
    deliver_days(store)
    (tmp_path / "keys").mkdir()
    key = write_keys(tmp_path / "keys")
    seal(store, key)
    public = read_verifying_key(tmp_path / "keys" / "public.pem")
    assert all(one.seal.is_signed_by(public) for one in seals(store))
    assert {one.seal.public_key_sha256 for one in seals(store)} == {key.name}


def test_a_day_that_cannot_be_sealed_is_kept_until_it_can(
    store: Store, receiver: RejectingReceiver, tmp_path: Path
) -> None:
    """A damaged file keeps its day from being dropped, in every maintenance until it is whole."""
    age(store)
    load(store, receiver.url())
    damaged = min(tmp_path.glob("raw/*/date=2026-03-02/*-beside.parquet"))
    content = damaged.read_bytes()
    damaged.write_bytes(content[::-1])
    dropped = DAYS_STAGED - KEPT - 1
    for expected in (dropped, 0):
        kept = maintain(store, receiver.url())
        [problem] = kept.problems
        assert damaged.name in problem
        assert kept.days_dropped == expected
        assert any("2026-03-02 is kept: " in note for note in kept.notes)
    damaged.write_bytes(content)
    done = maintain(store, receiver.url())
    assert (done.problems, done.days_sealed, done.days_dropped) == ([], 1, 1)


def test_a_day_that_is_delivered_meanwhile_is_not_dropped_before_it_is_sealed(
    store: Store, receiver: RejectingReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was pending when days were sealed, and is not any more when they are to be dropped."""
    age(store)

    def drop(*args: Any, **options: Any) -> Any:
        """Another run delivers before."""
        load(store, receiver.url())
        return drop_account(*args, **options)

    monkeypatch.setattr("tasks.maintain.account.drop_account", drop)
    done = maintain(store, receiver.url())
    assert (done.days_sealed, done.days_dropped) == (0, 0)
    assert any("sealing comes first" in note for note in done.notes)
    done = maintain(store, receiver.url())
    assert (done.days_sealed, done.days_dropped) == (DAYS_STAGED - 1, DAYS_STAGED - KEPT)
