"""The stand-in's logins, its tokens, and the auth file that holds its keys."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.sandbox.conftest import TOKEN, Caller, events

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox.halo_api import HaloStandIn


def test_login_by_basic_and_by_form(halo: HaloStandIn, caller: Caller) -> None:
    """A key logs in by Basic authentication and by a form body, and gets a bearer token."""
    key, secret = halo["alpha"].key
    form = {"grant_type": "client_credentials", "client_id": key, "client_secret": secret}
    answer = caller.http.post(TOKEN, data=form)
    assert answer.status_code == 200
    said = answer.json()
    assert said["token_type"] == "bearer"
    assert said["expires_in"] == 900
    assert said["scope"] == "read"
    assert halo["alpha"].counters.logins == 2


@pytest.mark.parametrize(
    ("key", "secret"), [("unknown", "x"), ("", ""), (None, "wrong")], ids=["key", "none", "secret"]
)
def test_wrong_key(halo: HaloStandIn, caller: Caller, key: str | None, secret: str) -> None:
    """A wrong key, secret or none gets 401 and counts as a failed login."""
    pair = (halo["alpha"].key[0] if key is None else key, secret)
    answer = caller.http.post(TOKEN, params={"grant_type": "client_credentials"}, auth=pair)
    assert answer.status_code == 401
    assert halo.counters.failed_logins == 1


def test_login_misused(halo: HaloStandIn, caller: Caller) -> None:
    """A login without its grant type is refused with 400, by GET with 405, garbled with 401."""
    assert caller.http.post(TOKEN, auth=caller.key).status_code == 400
    assert caller.http.get(TOKEN, auth=caller.key).status_code == 405
    garbled = {"authorization": "Basic !!!"}
    grant = {"grant_type": "client_credentials"}
    assert caller.http.post(TOKEN, params=grant, headers=garbled).status_code == 401


def test_rotated_key(halo: HaloStandIn, connect: Callable[..., Caller]) -> None:
    """Two keys of an account both work and see the same events."""
    halo["alpha"].add(events(3))
    old = connect(halo)
    halo["alpha"].rotate_key()
    new = connect(halo)
    assert old.key != new.key
    assert sorted(old.ids()) == sorted(new.ids())
    old.log_in()


def test_no_token(caller: Caller) -> None:
    """A listing without a token, or with one that was never given, is refused with 401."""
    assert caller.http.get("/v1/events").status_code == 401
    foreign = {"authorization": "Bearer 0123"}
    assert caller.http.get("/v1/events", headers=foreign).status_code == 401


def test_token_expires(halo: HaloStandIn, connect: Callable[..., Caller]) -> None:
    """A token ends after its life, after so many requests, and when told to."""
    halo.switches.token_life = 0.05
    halo.switches.says_expires_in = 600
    brief = connect(halo)
    time.sleep(0.06)
    assert brief.get().status_code == 401
    halo.switches.token_life = 900
    halo.switches.token_requests = 2
    counted = connect(halo)
    assert [counted.get().status_code for _ in range(4)] == [200, 200, 401, 401]
    halo.switches.token_requests = None
    ended = connect(halo)
    halo.expire_tokens()
    assert ended.get().status_code == 401


def test_logins_are_events(halo: HaloStandIn, caller: Caller) -> None:
    """By switch, every login is itself an event of its account; by default it is none."""
    assert caller.ids() == []
    halo.switches.login_events = True
    caller.log_in()
    listed = caller.get().json()["events"]
    assert [event["type"] for event in listed] == ["api_login_success"]


def test_auth_file(halo: HaloStandIn, tmp_path: Path) -> None:
    """The auth file has one line an account, with its newest key, for its owner alone."""
    halo["beta"].rotate_key()
    file = halo.write_auth(tmp_path / "auth")
    assert file.stat().st_mode & 0o777 == 0o600
    lines = [line.split("|") for line in file.read_text().splitlines()]
    assert lines == [[*halo[name].key, name] for name in ("alpha", "beta")]
