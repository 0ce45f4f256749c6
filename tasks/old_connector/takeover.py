"""How the accounts of the vendor's connector go on here: each from its own timestamp.

Where an account begins is a mark in raw (`tasks.staging.coverage`). It is written before the first
sync, which reads all that was created at the timestamp or later, and nothing before. An event of
just that time may have been sent by the connector, which asks again for it, too: an event that
comes twice is better than one that is lost.
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tasks.accounts import read_accounts
from tasks.errors import SettingsError, explain
from tasks.halo_history import HALO_BEGAN, HALO_KEEPS
from tasks.redaction import HIDDEN, LONGEST_PATH, foreign_text
from tasks.staging.coverage import mark_beginning, read_coverage
from tasks.staging.locks import hold
from tasks.staging.storage.local_files import create_private
from tasks.time_window import isoformat, parse_time

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.accounts import Account
    from tasks.old_connector.reader import OldConnector, Timestamp
    from tasks.staging.store import Store

_LIKE_A_TIME = re.compile(r"\d{4}-\d\d-\d\d")
_LIKE_OTHERS = "it begins as any other, at HALO_START or 90 days ago"


@dataclass
class Takeover:
    """What is to be done for a connector's accounts.

    Attributes:
        said: What becomes of each account, a sentence each.
        begins: Where the accounts begin that do not yet, by their names.
        new_file: The accounts to be written into the auth file; empty where it has them.
        warnings: What was found and cannot be taken over.
        conflict: Why the auth file cannot be written; empty where it can.
    """

    auth_file: Path
    said: list[str] = field(default_factory=list)
    begins: dict[str, datetime] = field(default_factory=dict)
    new_file: list[Account] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    conflict: str = ""

    @property
    def nothing_to_do(self) -> bool:
        """Whether all was taken over before."""
        return not (self.begins or self.new_file)


def plan_takeover(store: Store, old: OldConnector, auth_file: Path) -> Takeover:
    """See what is to be done for a connector's accounts; nothing is written.

    Raises:
        SettingsError: The auth file that is there cannot be read, or a key has two timestamps.
        StagingError: The staging cannot be read.
    """
    plan = Takeover(auth_file.absolute(), warnings=[*old.skipped])
    names = _names(plan, old)
    for key_id in sorted(old.timestamps.keys() - names.keys()):
        plan.warnings.append(
            f"key {foreign_text(key_id)} has a timestamp and is in no .auth file: it is left out"
        )
    for key_id, name in names.items():
        begin = _begin(plan, name, sorted(old.timestamps.get(key_id, ()), key=str))
        known = read_coverage(store, name).begin
        if begin is None:
            found = "no timestamp counts" if key_id in old.timestamps else "no timestamp is found"
            plan.said.append(f"account {name}: {found}; {_LIKE_OTHERS}")
        elif known == begin:
            plan.said.append(f"account {name}: it begins at {isoformat(begin)} already")
        elif known is not None:
            plan.said.append(_begun(name, begin, known))
        else:
            plan.begins[name] = begin
            plan.said.append(f"account {name}: it begins at {isoformat(begin)}")
            if begin < datetime.now(UTC) - HALO_KEEPS:
                plan.warnings.append(
                    f"account {name}: Halo keeps events for {HALO_KEEPS.days} days; what the "
                    "connector did not read of the time before is lost, and the first sync says so"
                )
    return plan


def take_over(store: Store, plan: Takeover) -> None:
    """Do what is planned: the accounts' beginnings first, so that no sync begins elsewhere.

    Raises:
        SettingsError: The auth file cannot be written.
        InUseError: Another run holds an account.
        StagingError: The staging cannot be written.
    """
    if plan.conflict:
        raise SettingsError(plan.conflict)
    for name, begin in plan.begins.items():
        with hold(store, "account", name):
            if read_coverage(store, name).begin is None:
                mark_beginning(store, name, begin, synced=True)
    if plan.new_file:
        _write(plan.auth_file, plan.new_file)


def _names(plan: Takeover, old: OldConnector) -> dict[str, str]:
    """The name of each key's account: as our auth file has it, where there is one."""
    names = {account.key_id: account.name for account in old.accounts}
    folded: dict[str, str] = {}
    for key_id, name in names.items():
        if (other := folded.setdefault(name.casefold(), key_id)) != key_id:
            raise SettingsError(
                f"the keys {other} and {key_id} have one account, or two that differ in case "
                "alone, and would share a folder; write the auth file by hand, with names"
            )
    if not plan.auth_file.exists():
        plan.new_file = old.accounts
        return names
    ours = {account.key_id: account for account in read_accounts(plan.auth_file)}
    missing = [
        account.key_id
        for account in old.accounts
        if account.key_id not in ours or ours[account.key_id].secret != account.secret
    ]
    if missing:
        plan.conflict = (
            f"{foreign_text(plan.auth_file, LONGEST_PATH)} is there, and lacks the connector's key "
            f"{', '.join(missing)}, or has another secret for it; write its line into it, or name "
            "another file with HALO_AUTH_FILE or --auth"
        )
    return names | {key: ours[key].name for key in names if key in ours}


def _begin(plan: Takeover, name: str, timestamps: list[Timestamp]) -> datetime | None:
    """Where an account begins by what the connector noted; None where that cannot be told."""
    times: dict[datetime, Timestamp] = {}
    for timestamp in timestamps:
        where = foreign_text(timestamp.path, LONGEST_PATH)
        try:
            moment = parse_time(timestamp.text)
        except SettingsError:
            # shown only where it begins as a time does: else it may be a secret
            begins = _LIKE_A_TIME.match(timestamp.text)
            shown = f"'{foreign_text(timestamp.text)}'" if begins else HIDDEN
            plan.warnings.append(
                f"account {name}: its timestamp in {where}, {shown}, is no ISO 8601 time; write "
                f"one such as 2026-03-01T12:30:00Z, or {_LIKE_OTHERS}"
            )
            continue
        if not HALO_BEGAN <= moment <= datetime.now(UTC):
            plan.warnings.append(
                f"account {name}: its timestamp in {where}, {isoformat(moment)}, is in the future "
                f"or before there was Halo; {_LIKE_OTHERS}"
            )
            continue
        times[moment] = timestamp
    if len(times) > 1:
        told = " and ".join(
            f"{isoformat(moment)} in {foreign_text(timestamp.path, LONGEST_PATH)}"
            for moment, timestamp in sorted(times.items())
        )
        raise SettingsError(
            f"account {name} has several timestamps: {told}; take those away that do not count"
        )
    return next(iter(times), None)


def _begun(name: str, begin: datetime, known: datetime) -> str:
    """What is said of an account of which something is staged already."""
    said = (
        f"account {name}: its timestamp, {isoformat(begin)}, changes nothing: something is staged "
        f"already, and it begins at {isoformat(known)}"
    )
    if known > begin:
        said += (
            f"; what is between them is read with `halo-usm extract --since {isoformat(begin)} "
            f"--until {isoformat(known)}`"
        )
    return said


def _write(path: Path, accounts: list[Account]) -> None:
    """Write the auth file: whole or not at all, and not over one that is there."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        aside.unlink(missing_ok=True)
        try:
            with create_private(aside) as sink:
                for account in accounts:
                    name = f"|{account.name}" if account.name != account.key_id else ""
                    line = f"{account.key_id}|{account.secret.get_secret_value()}{name}\n"
                    sink.write(line.encode())
                sink.flush()
                os.fsync(sink.fileno())
            if os.path.lexists(path):  # made meanwhile, or a link to nothing
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            aside.rename(path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        error.filename = str(path)  # not what is written aside
        remedies = {errno.EEXIST: "move it away, or name another file with --auth"}
        raise SettingsError(f"HALO_AUTH_FILE: {explain(error, remedies=remedies)}") from None
