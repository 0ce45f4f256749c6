"""What the vendor's connector keeps in files: its keys, and how far it got with each.

    <name>.auth               key_id|secret a line                                   every version
    <name>.config             key_id|timestamp a line                                2013 to 2015
    <key_id>_<timestamp>      an empty file; a plus stands for each colon            2016 to 2018

The timestamp is that of the newest event that was read. The versions to 2015 add a microsecond once
they have read all there was; what they read up to an interruption has none added. Both generations
then ask the API for events created at the timestamp or later.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.accounts import parse_account
from tasks.errors import SettingsError, explain
from tasks.redaction import LONGEST_PATH, foreign_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tasks.accounts import Account

FOLDERS = (".", "config", "configs", "configs/configdir")
"""Where the versions keep their files, below the folder of the program or of `--configdir`."""

_TIMESTAMP_FILE = re.compile(r"(?P<key_id>[A-Za-z0-9_-]{1,64})_(?P<time>\d{4}-\d\d-\d\d.*)")
_NO_TIME = {"", "None"}


@dataclass(frozen=True)
class Timestamp:
    """How far the connector got with a key: the text as it stands there, and where it stands."""

    text: str
    path: Path


@dataclass
class OldConnector:
    """What a connector left behind.

    Attributes:
        accounts: Its keys, each the name of its account, too.
        timestamps: By key id; more than one where several files tell.
        skipped: Lines that are no key, which the connector itself skipped: a sentence each.
    """

    accounts: list[Account] = field(default_factory=list)
    timestamps: dict[str, set[Timestamp]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)


def read_old_connector(folder: Path, auth_file: Path) -> OldConnector:
    """Read what a connector left in a folder and in those below it where it keeps its files.

    Args:
        folder: Where its auth file or its timestamps lie.
        auth_file: Our own auth file: read only where there is no other.

    Raises:
        SettingsError: The folder cannot be read or has no keys, or one key with different secrets.
            No message shows a line's text.
    """
    try:
        if not folder.is_dir():
            raise SettingsError(
                f"there is no folder {foreign_text(folder, LONGEST_PATH)}; name the one that has "
                "the connector's .auth file"
            )
        files = list(_files(folder))
        keys = [path for path in files if path.suffix == ".auth"]
        ours = os.path.realpath(auth_file)  # where links go round in a circle, it is none of these
        keys = [path for path in keys if os.path.realpath(path) != ours] or keys
        if not keys:
            raise SettingsError(
                f"{foreign_text(folder, LONGEST_PATH)} has no .auth file, nor have "
                f"{', '.join(FOLDERS[1:])} in it; name the folder that has the connector's"
            )
        found = OldConnector()
        for path in keys:
            _read_keys(path, found)
        if not found.accounts:
            raise SettingsError(
                f"{foreign_text(keys[0], LONGEST_PATH)} has no key_id|secret line; name the folder "
                "that has the connector's keys"
            )
        for path in files:
            _read_timestamps(path, found)
    except (OSError, UnicodeError) as error:
        raise SettingsError(explain(error, folder)) from None
    return found


def _files(folder: Path) -> Iterator[Path]:
    for name in FOLDERS:
        below = folder / name
        if below.is_dir():
            yield from sorted(path for path in below.iterdir() if path.is_file())


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file that say something, with their numbers."""
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeError as error:
        raise SettingsError(explain(error, path)) from None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.strip().startswith("#"):
            yield number, line.strip()


def _read_keys(path: Path, found: OldConnector) -> None:
    known = {account.key_id: account for account in found.accounts}
    for number, line in _lines(path):
        where = f"line {number} of {foreign_text(path, LONGEST_PATH)}"
        account = parse_account(line)
        if account is None:
            found.skipped.append(f"{where} is no key_id|secret, and is left out")
        elif (other := known.get(account.key_id)) is None:
            known[account.key_id] = account
            found.accounts.append(account)
        elif other.secret != account.secret:
            raise SettingsError(
                f"{where} has the key {account.key_id} with another secret than the line before "
                "it; take the one that does not work away"
            )


def _read_timestamps(path: Path, found: OldConnector) -> None:
    if path.suffix == ".config":
        for _, line in _lines(path):
            key_id, separator, text = line.partition("|")
            if separator:
                _add(found, key_id.strip(), text.strip(), path)
    elif match := _TIMESTAMP_FILE.fullmatch(path.name):
        _add(found, match["key_id"], match["time"].replace("+", ":"), path)


def _add(found: OldConnector, key_id: str, text: str, path: Path) -> None:
    if text not in _NO_TIME:
        found.timestamps.setdefault(key_id, set()).add(Timestamp(text, path))
