"""The accounts in the auth file, one a line, checked before anything is touched."""

from __future__ import annotations

import os
import re
import shlex
import stat
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr

from tasks.errors import SettingsError, explain
from tasks.redaction import LONGEST_PATH, foreign_text

_FOLDER_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Account(BaseModel):
    """One Halo account: the name of its folders, and the key that reads its events."""

    model_config = ConfigDict(frozen=True)

    name: str
    key_id: str
    secret: SecretStr


def read_accounts(path: Path) -> list[Account]:
    """The accounts of an auth file, in its order.

    Raises:
        SettingsError: The file is missing, empty or unreadable, a line is malformed, or an
            account is named twice. The message gives line numbers and never a line's text.
    """
    try:
        path = path.absolute()
        lines = path.read_text("utf-8-sig").splitlines()
    except FileNotFoundError:
        raise SettingsError(
            f"HALO_AUTH_FILE: there is no file {foreign_text(path, LONGEST_PATH)}; create it with "
            "one key_id|secret a line, readable by you alone (chmod 600)"
        ) from None
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"HALO_AUTH_FILE: {explain(error, path)}") from None
    shown = foreign_text(path, LONGEST_PATH)
    accounts: dict[str, Account] = {}
    first_line: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        account = _account(text)
        if account is None:
            raise SettingsError(
                f"HALO_AUTH_FILE: line {number} of {shown} is neither key_id|secret nor "
                "key_id|secret|account (key ids and accounts are 1-64 of A-Z a-z 0-9 _ -)"
            )
        # two that differ in case only would share their folders where file names ignore case
        key = account.name.casefold()
        if key in accounts:
            raise SettingsError(
                f"HALO_AUTH_FILE: line {number} of {shown} names the account of line "
                f"{first_line[key]} again; remove one, or give them different names"
            )
        accounts[key] = account
        first_line[key] = number
    if not accounts:
        raise SettingsError(f"HALO_AUTH_FILE: {shown} names no account; add key_id|secret lines")
    return list(accounts.values())


def open_to_others(path: Path) -> str:
    """A warning about an auth file that other users of this machine can open; "" if they can't.

    There is none about a pipe, such as a password manager's, or a file that is gone: neither has a
    mode that could be changed. Nor about a credential of systemd: it is given to one user by an
    access control list, whose mask the mode shows as rights of a group.
    """
    if path.parent == Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nowhere")):
        return ""
    try:
        mode = path.stat().st_mode
    except OSError:
        return ""  # reading it reports the fault
    if not stat.S_ISREG(mode) or not mode & (stat.S_IRWXG | stat.S_IRWXO):
        return ""
    here = path.absolute()
    return f"{here} is open to other users of this machine: chmod 600 {shlex.quote(str(here))}"


def _account(line: str) -> Account | None:
    parts = [part.strip() for part in line.split("|")]
    if len(parts) not in {2, 3}:
        return None
    key_id, secret, name = (*parts, parts[0])[:3]
    if not (_FOLDER_NAME.fullmatch(key_id) and _FOLDER_NAME.fullmatch(name) and secret):
        return None
    return Account(name=name, key_id=key_id, secret=SecretStr(secret))
