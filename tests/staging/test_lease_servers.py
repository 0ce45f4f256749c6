"""Which servers can give leases, and with which address and keys they are reached."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tasks.errors import SettingsError, StagingError
from tasks.staging.locks import hold
from tasks.staging.store import open_store
from tests.load.helpers import closed_port
from tests.object_storage import KEYS, Proxy
from tests.staging.leases import leases
from tests.staging.staged_data import raw

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"ignored": ("If-None-Match",)}, "it ignores If-None-Match"),
        ({"ignored": ("If-Match",)}, "it ignores If-Match"),
        ({"unimplemented": True}, "501 Not Implemented"),
    ],
)
def test_a_server_without_conditional_puts(
    s3: Proxy, staging: str, fault: dict[str, Any], said: str
) -> None:
    """That is noticed before anything is locked, and the error says what to do."""
    for name, value in fault.items():
        setattr(s3, name, value)
    for attempt in (open_store(staging), open_store(staging)):
        with pytest.raises(SettingsError, match=said) as refused, hold(attempt, "account", "alpha"):
            pass
        assert "HALO_STAGING_LOCKS=none" in str(refused.value)
    assert s3.count("account=alpha") == s3.count("account%3Dalpha") == 0
    with hold(open_store(staging, "none"), "account", "alpha"):
        pass


@pytest.mark.parametrize("given", ["uri", "profile", "environment"])
def test_leases_use_the_keys_that_pyarrow_uses(
    s3: Proxy, staging: str, given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys in the URI, in the profile's file or in the environment are said once for both."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    if given == "uri":
        staging = staging.replace("s3://", "s3://uri:to%2Fken@")
    if given == "profile":
        profiles = tmp_path / "credentials"
        profiles.write_text(
            "[default]\naws_access_key_id = other\naws_secret_access_key = x\n"
            "[ours]\naws_access_key_id = profile\naws_secret_access_key = y%z\n"
        )
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(profiles))
        monkeypatch.setenv("AWS_PROFILE", "ours")
        for name in KEYS:
            monkeypatch.delenv(name)
    store = open_store(staging)
    store.accounts("raw")
    pyarrow_keys = set(s3.keys)
    store.backend.check_locks()
    wanted = "testing" if given == "environment" else given
    assert pyarrow_keys == s3.keys == {wanted}


@pytest.mark.parametrize("scheme", ["", "&scheme=http", "environment"])
def test_leases_are_where_pyarrow_writes(
    s3: Proxy, staging: str, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's address is said once, in the URI or in the environment."""
    place, address = staging.split("?")
    if scheme == "environment":
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.url)
        uri = place
    else:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
        uri = f"{place}?{address.replace('http://', '') if scheme else address}{scheme}"
    store = open_store(uri)
    with hold(store, "account", "alpha"):
        store.publish(raw([]), "raw", "alpha", date(2026, 3, 1), "x.parquet")
    assert s3.count(r"PUT .*/x\.parquet") == 1
    assert s3.count(r"PUT .*alpha\.json") == 2


def test_leases_need_no_proxy(s3: Proxy, staging: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment, which pyarrow does not use for S3, is not used for leases."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for address in (staging, staging.replace("127.0.0.1", "localhost")):
        with hold(open_store(address), "account", "alpha"):
            pass


@pytest.mark.parametrize("address", ["https://:9", "a b:9", "http://127.0.0.1:99999", "[::1:9"])
def test_an_address_that_is_none(address: str) -> None:
    """It is a setting that cannot be used, not a fault of the library's."""
    with pytest.raises(SettingsError, match="endpoint_override is no address"):
        leases(str(httpx.URL("s3://b/p", params={"endpoint_override": address}))).check()


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is told, without the library's internals."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    mine = leases(f"s3://b/p?endpoint_override=http://127.0.0.1:{closed_port()}")
    with pytest.raises(StagingError, match=r"PUT http://127.0.0.1:\d+/.*: Connection refused\); "):
        mine.check()
