from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.cli.app import run
from tasks.reports.verification import verify
from tasks.staging.normalized_rows import ANEW_KEY
from tasks.staging.seals.signatures import read_signing_key, read_verifying_key
from tasks.staging.store import open_store
from tasks.transform.account import transform_account
from tests.maintain import tampering
from tests.maintain.sealed_days import DAYS, EVENTS, deliver_days, late_event, seal, write_keys
from tests.staging.staged_data import at, stage, transform, window

if TYPE_CHECKING:
    from pathlib import Path

    from tests.maintain.tampering import Tampering


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A staging of some days that is not sealed, and keys beside it."""
    folder = tmp_path_factory.mktemp("delivered")
    deliver_days(open_store(str(folder / "staging")))
    write_keys(folder)
    return folder


@pytest.fixture(scope="module")
def sealed(delivered: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, sealed and signed."""
    folder = tmp_path_factory.mktemp("sealed") / "copy"
    shutil.copytree(delivered, folder)
    seal(open_store(str(folder / "staging")), read_signing_key(folder / "key.pem"))
    return folder


@pytest.fixture
def staging(sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the sealed staging, as the settings name it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HALO_STAGING", "staging")
    shutil.copytree(sealed, tmp_path, dirs_exist_ok=True)
    return tmp_path / "staging"


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (tampering.change_byte, "2026-03-02.json): normalized/"),
        (tampering.exchange, "was changed: its SHA-256 is "),
        (tampering.remove_file, "is not there any more"),
        (tampering.put_a_pipe, "is no file but a named pipe"),
        (tampering.remove_seal, "seal 2 is not there; restore what was removed"),
        (tampering.edit_seal, "seal 2 (2026-03-02.json) was changed"),
        (tampering.edit_newest_seal, "its files have 19 normalized events, it tells of 20"),
        (tampering.copy_seal, "bear the same number"),
        (tampering.rename_seal, "it was renamed or moved; put it back"),
        (tampering.remove_all_seals, "no day is sealed, so that nothing can be verified"),
    ],
)
def test_tampering(
    staging: Path,
    capsys: pytest.CaptureFixture[str],
    tamper: Tampering,
    said: str,
) -> None:
    """The command says that all agrees, and after each kind of tampering what does not."""
    assert run(["audit", "--verify"]) == 0
    assert "All agrees." in capsys.readouterr().out
    tamper(staging)
    assert run(["audit", "--verify"]) == 1
    shown = capsys.readouterr()
    assert "Something does not agree." in shown.out
    assert said in shown.err
    assert run(["audit", "--verify", "--json"]) == 1
    assert said in json.loads(capsys.readouterr().out)["disagrees"]


def test_signatures(staging: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Checked against a given key alone; else it is said whose they are."""
    key = read_signing_key(staging.parent / "key.pem")
    assert run(["audit", "--verify"]) == 0
    assert f"SHA-256 {key.name}; the signatures were not checked" in capsys.readouterr().err
    assert run(["audit", "--verify", "--public-key", "public.pem"]) == 0
    assert run(["audit", "--verify", "--public-key", "public.pem", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out.partition("All agrees.\n")[2])
    assert shown["accounts"]["alpha"]["signatures"] == DAYS
    assert shown["accounts"]["alpha"]["keys"] == {key.name: DAYS}
    last = staging / "seals/account=alpha/2026-03-03.json"
    tampering.rewritten(last, signature=f"{1:0128x}")
    assert run(["audit", "--verify", "--public-key", "public.pem"]) == 1
    assert "has no right signature of the key" in capsys.readouterr().err


def test_another_key_and_none(staging: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A right signature stands for the seals before it, and not for those after it."""
    late_event(open_store("staging"), 0)
    seal(open_store("staging"))
    assert run(["audit", "--verify", "--public-key", "public.pem"]) == 1
    assert "1 seal, from seal 4 (2026-03-01.2.json) on, not signed" in capsys.readouterr().err
    (staging.parent / "other").mkdir()
    other = write_keys(staging.parent / "other")
    late_event(open_store("staging"), 1)
    seal(open_store("staging"), other)
    assert run(["audit", "--verify", "--public-key", "other/public.pem"]) == 0
    assert run(["audit", "--verify", "--public-key", "public.pem"]) == 1


def test_what_is_not_sealed_yet_is_said(staging: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Days that came or changed since, or were normalized anew, are said, and no fault."""
    store = open_store("staging")
    deliver_days(store, DAYS + 1)
    late_event(store, 0)
    transform(store, anew=window(0, 24, day=1))
    assert run(["audit", "--verify"]) == 0
    said = capsys.readouterr().err
    assert "1 day has no seal" in said
    assert "2 days have files that no seal names yet" in said
    assert "1 of them could not be verified" in said
    seal(store)
    assert run(["audit", "--verify", "--since", "2026-03-01", "--until", "2026-03-03"]) == 0
    assert "note:" in capsys.readouterr().err


def test_another_version_of_the_mapping(staging: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that another version made are counted as not comparable, and are no fault."""
    monkeypatch.setattr("tasks.reports.day_verification.MAPPING_VERSION", "2")
    found = verify(open_store("staging"))
    assert found.verified
    counts = found.accounts["alpha"]
    assert (counts.lines, counts.lines_not_comparable) == (0, DAYS * (EVENTS - 1))
    assert "not comparable" in str(found.notes)


def test_a_day_that_was_normalized_anew(delivered: Path, tmp_path: Path) -> None:
    """Lines that were sent before, with another address, are not comparable, once compacted too."""
    shutil.copytree(delivered, tmp_path, dirs_exist_ok=True)
    store = open_store(str(tmp_path / "staging"))
    late_event(store, 0)
    transform_account(store, "alpha", device_address="10.9.8.7", run_id="run", window=window(0, 24))
    seal(store)
    found = verify(store)
    assert (found.verified, found.accounts["alpha"].lines_not_comparable) == (True, EVENTS)
    stage(store, window(22, 23), [("later", at(22.5))])
    transform(store)
    seal(store)
    path = tampering.one(tmp_path / "staging", "normalized/*/date=2026-03-01/*")
    assert ANEW_KEY.encode() in pq.read_metadata(path).metadata
    assert verify(store).verified


@pytest.mark.parametrize("column", ["line_sha256", "event", "event_id"])
def test_lines_are_rendered_anew(delivered: Path, tmp_path: Path, column: str) -> None:
    """What was sealed with a wrong line, or with another event than was sent, does not agree."""
    shutil.copytree(delivered, tmp_path, dirs_exist_ok=True)
    tree = "raw" if column == "event" else "deliveries/*"
    path = tampering.one(tmp_path / "staging", f"{tree}/*/date=2026-03-02/*")
    table = pq.read_table(path, partitioning=None)
    values = table[column].to_pylist()
    values[3] = values[3].translate(str.maketrans("0123", "1234"))
    place = table.schema.get_field_index(column)
    pq.write_table(table.set_column(place, table.field(place), [values]), path)
    store = open_store(str(tmp_path / "staging"))
    seal(store)
    found = verify(store)
    assert "seal 2" in str(found.disagrees)
    assert "event 1-3" in str(found.disagrees) or "give no line of it" in str(found.disagrees)


def test_wrong_use(staging: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Options that do not go together, and keys that are none, are exit code 2."""
    assert run(["audit", "--verify", "--event", "x"]) == 2
    assert run(["audit", "--public-key", "public.pem", "--since", "2026-03-01"]) == 2
    assert run(["audit", "--verify", "--public-key", "key.pem"]) == 2
    assert run(["maintain", "--sign", "public.pem"]) == 2
    assert "is no Ed25519 public key" in capsys.readouterr().err


@settings(max_examples=40)
@given(st.data())
def test_any_byte(sealed: Path, data: st.DataObject) -> None:
    """Whichever byte of a sealed file or of a signed seal is changed, it is noticed."""
    paths = sorted((sealed / "staging").glob("**/*.parquet"))
    paths += sorted((sealed / "staging" / "seals").glob("*/*"))
    path = data.draw(st.sampled_from(paths))
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    changed[at] ^= data.draw(st.integers(1, 255))
    key = read_verifying_key(sealed / "public.pem")
    try:
        path.write_bytes(changed)
        assert not verify(open_store(str(sealed / "staging")), public_key=key).verified
    finally:
        path.write_bytes(content)
    assert content == path.read_bytes()
