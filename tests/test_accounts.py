"""The auth file: accounts line by line, and what a bad line says: never what is in it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tasks.accounts import open_to_others, read_accounts
from tasks.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path


def test_an_auth_file_names_accounts(in_folder: Path) -> None:
    """Blank lines and comments are skipped; the account is the key id unless named."""
    auth = in_folder / "auth"
    auth.write_text("# keys\n\nabc123|s3cret\n key2 | other\nk3|x|prod-eu\n")
    accounts = read_accounts(auth)
    assert [(a.name, a.key_id) for a in accounts] == [
        ("abc123", "abc123"),
        ("key2", "key2"),
        ("prod-eu", "k3"),
    ]
    assert accounts[0].secret.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(accounts)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "names no account"),
        ("key|hunter2\nkey-hunter2\n", "line 2 of .* is neither"),
        ("key|hunter2|a|b\n", "line 1 of .* is neither"),
        ("key|\n", "line 1 of .* is neither"),
        ("../key|hunter2\n", "line 1 of .* is neither"),
        ("key|hunter2|../../etc\n", "line 1 of .* is neither"),
        (f"{'k' * 65}|hunter2\n", "line 1 of .* is neither"),
        ("k|hunter2|a\n#\nl|hunter2|a\n", "line 3 of .* names the account of line 1 again"),
        ("k|hunter2|a\nl|hunter2|A\n", "line 2 of .* names the account of line 1 again"),
    ],
)
def test_a_bad_auth_file_is_refused_by_line_number(
    in_folder: Path, content: str, message: str
) -> None:
    """The message says which line, and never what is in it."""
    auth = in_folder / "auth"
    auth.write_text(content)
    with pytest.raises(SettingsError, match=message) as caught:
        read_accounts(auth)
    assert "hunter2" not in str(caught.value)


def test_a_missing_auth_file_says_how_to_make_one(in_folder: Path) -> None:
    """A newcomer learns what belongs in it."""
    with pytest.raises(SettingsError, match=r"create it with one key_id\|secret a line"):
        read_accounts(in_folder / "haloEvents.auth")


def test_file_that_others_can_open(tmp_path: Path) -> None:
    """A file of keys that is open to others is said, with the command; a pipe has no mode."""
    path = tmp_path / "my keys"
    path.write_text("id|secret\n")
    path.chmod(0o640)
    assert open_to_others(path).endswith(
        f"is open to other users of this machine: chmod 600 '{path}'"
    )
    path.chmod(0o600)
    assert open_to_others(path) == ""
    os.mkfifo(tmp_path / "pipe", 0o644)
    assert open_to_others(tmp_path / "pipe") == ""


def test_a_credential_of_systemd_is_not_called_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rights of one user by an access control list look like rights of a group."""
    path = tmp_path / "haloEvents.auth"
    path.write_text("id|secret\n")
    path.chmod(0o440)
    assert open_to_others(path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert open_to_others(path) == ""
