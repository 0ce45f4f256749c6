"""A staging of some days, delivered and sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tasks.maintain.compaction import compact_account
from tasks.maintain.maintenance_run import MaintenanceRun
from tasks.maintain.sealing import SealResult, seal_account
from tasks.staging.raw import stage_window
from tasks.staging.seals.seal_chain import SealChain
from tasks.staging.seals.signatures import SigningKey, read_signing_key
from tasks.staging.store import open_store
from tests.load.helpers import load
from tests.staging.rejecting_receiver import RejectingReceiver
from tests.staging.staged_data import at, broken, malformed, raw, stage, transform, window

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.staging.seals.seal_chain import SealInFile
    from tasks.staging.store import Store

DAYS = 3
EVENTS = 20
"""Events of each day, one of which is rejected."""
OVER = at(0, day=40)
"""A time at which all these days are over."""


def deliver_days(store: Store, days: int = DAYS) -> None:
    """Days of events, a file in each tree, delivered to a destination `sensor`."""
    for day in range(days):
        events = broken(raw([(f"{day}-{n}", at(n / 2, day)) for n in range(EVENTS)]), f"{day}-7")
        rejects = malformed((f"malformed {day}", at(3, day), "{}"))
        stage_window(store, "alpha", window(0, 24, day), events, rejects, "run", at(30, day))
    transform(store)
    with RejectingReceiver(lambda _: True) as receiver:
        load(store, receiver.url(name="sensor"))


def seal(store: Store, key: SigningKey | None = None) -> SealResult:
    """Compact and seal what can be."""
    run = MaintenanceRun(store, "alpha", [], OVER)
    assert compact_account(run, grace=0).problems == []
    return seal_account(run, key)


def only_seal(folder: str, sensor: str) -> None:
    """Seal what is compacted; for a child that is killed."""
    assert seal_account(MaintenanceRun(open_store(folder), "alpha", [], OVER)).problems == []


def seals(store: Store) -> list[SealInFile]:
    """The seals of the account, in order; the chain has no fault."""
    chain = SealChain(store, "alpha")
    chain.refresh()
    assert [*chain.faults()] == []
    return [*chain]


def late_event(store: Store, day: int) -> None:
    """An event that appears late, delivered."""
    stage(store, window(23, 24, day), [(f"late {day}", at(23.5, day))])
    transform(store)
    with RejectingReceiver(lambda _: True) as receiver:
        load(store, receiver.url(name="sensor"))


def write_keys(folder: Path) -> SigningKey:
    """A new pair of keys, `key.pem` and `public.pem`."""
    key = Ed25519PrivateKey.generate()
    private = folder / "key.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    private.chmod(0o600)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "public.pem").write_bytes(public)
    return read_signing_key(private)
