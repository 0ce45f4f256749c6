"""Settings: where they come from, which wins, and what a bad one says."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from flows.context import export_prefect_settings
from tasks.errors import SettingsError
from tasks.settings import Settings, prefect_api_url, read_settings

if TYPE_CHECKING:
    from pathlib import Path


def test_flags_win_over_the_environment_and_it_over_the_file(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flag beats an environment variable, which beats a line of `.env`."""
    (in_folder / ".env").write_text(
        "HALO_CONCURRENCY=2\nHALO_LOOKBACK_MINUTES=20\nHALO_DEVICE_ADDRESS=192.0.2.1\n"
    )
    monkeypatch.setenv("HALO_CONCURRENCY", "3")
    monkeypatch.setenv("HALO_LOOKBACK_MINUTES", "30")
    settings = read_settings(halo_lookback_minutes=40)
    assert settings.halo_lookback_minutes == 40
    assert settings.halo_concurrency == 3
    assert settings.halo_device_address == "192.0.2.1"


def test_paths_in_a_settings_file_start_from_its_folder(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same file means the same places, whatever the working folder."""
    folder = in_folder / "etc"
    folder.mkdir()
    (folder / "halo.env").write_text(
        "HALO_AUTH_FILE=keys\nHALO_STAGING=staged\nUSM_SENSOR=tls://sensor:6514?ca=ca.pem\n"
    )
    settings = read_settings(folder / "halo.env")
    assert settings.halo_auth_file == folder / "keys"
    assert settings.halo_staging == str(folder / "staged")
    assert settings.usm_sensor is not None
    assert settings.usm_sensor.folder == folder
    monkeypatch.setenv("USM_SENSOR", "udp://sensor:514")
    settings = read_settings(folder / "halo.env")
    assert settings.usm_sensor is not None
    assert (settings.usm_sensor.text, settings.usm_sensor.folder) == ("udp://sensor:514", in_folder)


def test_a_staging_uri_stays_as_it_is(in_folder: Path) -> None:
    """Object storage has no folder to start from."""
    (in_folder / ".env").write_text("HALO_STAGING=s3://bucket/prefix\n")
    assert read_settings().halo_staging == "s3://bucket/prefix"


def test_prefect_settings_in_the_file_reach_prefect(in_folder: Path) -> None:
    """`PREFECT_API_URL` may stand in the settings file."""
    (in_folder / ".env").write_text("PREFECT_API_URL=http://127.0.0.1:4200/api\n")
    assert prefect_api_url() is None
    export_prefect_settings(read_settings())
    assert prefect_api_url() == "http://127.0.0.1:4200/api"


def test_the_environment_wins_over_prefect_settings_in_the_file(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does for every other setting."""
    (in_folder / ".env").write_text("PREFECT_API_URL=http://127.0.0.1:1/api\n")
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:2/api")
    export_prefect_settings(read_settings())
    assert prefect_api_url() == "http://127.0.0.1:2/api"


def test_reading_settings_changes_nothing(in_folder: Path) -> None:
    """The environment is the same afterwards, whatever the file holds."""
    (in_folder / ".env").write_text(
        "PREFECT_API_URL=http://127.0.0.1:4200/api\nHALO_CONCURRENCY=2\nAWS_REGION=x\n"
    )
    before = dict(os.environ)
    assert read_settings().prefect == {"PREFECT_API_URL": "http://127.0.0.1:4200/api"}
    assert dict(os.environ) == before


def test_a_start_without_offset_is_utc(in_folder: Path) -> None:
    """`HALO_START` follows the rule of every time."""
    assert read_settings(halo_start="2026-03-01").halo_start == datetime(2026, 3, 1, tzinfo=UTC)


def test_a_start_is_from_2010_to_now(in_folder: Path) -> None:
    """The first moment of 2010 may be asked for, and the last one; what comes is refused."""
    first, now = datetime(2010, 1, 1, tzinfo=UTC), datetime.now(UTC)
    assert read_settings(halo_start="2010-01-01").halo_start == first
    assert read_settings(halo_start=now.isoformat()).halo_start == now
    with pytest.raises(SettingsError, match=r"HALO_START: .* in the future, .* set the clock"):
        read_settings(halo_start=(now + timedelta(minutes=5)).isoformat())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("HALO_API_URL", "http://halo.example.com", "http:// would show the key to the network"),
        ("HALO_API_URL", "halo.example.com", "it is no base URL; write one such as https://"),
        ("HALO_API_URL", "https://me:hunter2@halo.example.com", "which belong in HALO_AUTH_FILE"),
        ("HALO_API_URL", "https://halo.example.com:abc", "its port is no number from 1 to 65535"),
        ("HALO_API_URL", "https://halo.example.com:99999", "its port is no number from 1 to 65535"),
        ("HALO_API_URL", "https://halo example.com", "it is no base URL; write one such as"),
        ("HALO_API_URL", "https://halo..example.com", "it is no base URL; write one such as"),
        ("HALO_API_URL", f"https://{'a' * 64}.com", "it is no base URL; write one such as"),
        ("HALO_STAGING", "/dev/null", "/dev/null is no folder"),
        ("HALO_STAGING", "/dev/null/staging", "/dev/null is no folder"),
        ("HALO_API_URL", "https://[::1", "it is no base URL; write one such as"),
        ("HALO_API_URL", "https://127.0.0.1/\udce9", "it is no base URL; write one such as"),
        ("HALO_API_URL", "https://halo.example.com/\n", "it is no base URL; write one such as"),
        ("HALO_AUTH_FILE", "~nouser/auth", "'~nouser/auth': no home folder is known for its ~"),
        ("HALO_AUTH_FILE", "key|hunter2", "'***': it is no path but a key; write the key into a"),
        ("HALO_STAGING", "s3://", "it names no bucket"),
        ("HALO_RETENTION_DAYS", "0", "'0': Input should be greater than or equal to 1"),
        ("HALO_LEDGER_DAYS", "a year", "'a year': Input should be a valid integer"),
        ("HALO_STAGING_LOCKS", "maybe", "'maybe': Input should be 'auto' or 'none'"),
        ("HALO_STAGING", "~nouser/x", "'~nouser/x': no home folder is known for its ~; write"),
        ("HALO_STAGING", "\udce9", "'\\udce9': '"),
        ("HALO_STAGING", "\udce9", "is no UTF-8 text; write it in UTF-8"),
        ("HALO_STAGING", "a" * 5000, "…': "),
        ("HALO_STAGING", "a" * 5000, "File name too long; write a shorter path"),
        ("HALO_STAGING", "file:///srv/%00", "it holds a NUL character"),
        ("HALO_STAGING", "file://srv/x", "the path behind file:// is not absolute"),
        ("HALO_STAGING", "key:hunter2@bucket/x", "'***': it is neither a folder nor a URI; write"),
        ("HALO_STAGING", "s3:/key:hunter2@bucket", "it is neither a folder nor a URI; write"),
        ("HALO_STAGING", "//key:hunter2@bucket/x", "it is neither a folder nor a URI; write"),
        ("HALO_STAGING", "bucket?secret_key=hunter2", "it is neither a folder nor a URI; write"),
        ("HALO_STAGING", "s3://b?endpoint_override=http://k:hunter2@h", "its query holds an @"),
        ("HALO_START", "\udce9", "'\\udce9' is no ISO 8601 time"),
        ("HALO_START", "a" * 5000, "…' is no ISO 8601 time"),
        ("HALO_START", "yesterday", "'yesterday' is no ISO 8601 time"),
        ("HALO_START", "0026-03-01", "'0026-03-01': there was no Halo before 2010; write a later"),
        ("HALO_START", "2009-12-31T23:59:59Z", "there was no Halo before 2010"),
        ("HALO_START", "9999-01-01", "'9999-01-01': it is in the future, by this machine's clock"),
        ("HALO_CONCURRENCY", "0", "'0': Input should be greater than or equal to 1"),
        ("HALO_CONCURRENCY", "many", "'many': Input should be a valid integer"),
        ("HALO_REQUESTS_PER_SECOND", "-1", "'-1': Input should be greater than or equal"),
        ("HALO_DEVICE_ADDRESS", "grid", "'grid': it is no IPv4 or IPv6 address"),
        ("HALO_LOOKBACK_MINUTES", "-5", "greater than or equal to 0"),
    ],
)
def test_a_bad_setting_is_named_with_its_value_and_what_it_means(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    """One message: which setting, what it was, what would do; never a password."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=re.escape(message)) as caught:
        read_settings()
    assert str(caught.value).startswith(name)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://[::1/", "PREFECT_API_URL: 'http://***': it is no base URL; write one such as"),
        ("http://me:hunter2@127.0.0.1/api", "http://***@127.0.0.1/api': it holds a user or a"),
        ("http://127.0.0.1/\udce9", "'http://127.0.0.1/***': it is no base URL; write one such"),
        ("garbage", "PREFECT_API_URL: '***': it is no base URL; write one such as"),
        ("http://127.0.0.1:99999/api", "its port is no number from 1 to 65535"),
    ],
)
@pytest.mark.parametrize("in_file", [False, True])
def test_a_bad_address_of_prefect_is_refused(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, url: str, message: str, *, in_file: bool
) -> None:
    """Before Prefect sees it, which would show it as it is."""
    if in_file and url.isascii():
        (in_folder / ".env").write_text(f"PREFECT_API_URL={url}\n")
    else:
        monkeypatch.setenv("PREFECT_API_URL", url)
    with pytest.raises(SettingsError, match=re.escape(message)) as caught:
        read_settings()
    assert "hunter2" not in str(caught.value)


def test_every_fault_of_the_settings_is_told(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each in a message of its own."""
    monkeypatch.setenv("HALO_CONCURRENCY", "0")
    monkeypatch.setenv("HALO_STAGING", "s3://")
    with pytest.raises(SettingsError) as caught:
        read_settings()
    assert [fault.partition(":")[0] for fault in caught.value.args] == [
        "HALO_STAGING",
        "HALO_CONCURRENCY",
    ]


def test_a_colon_in_a_folders_name_is_written_with_its_path(in_folder: Path) -> None:
    """What looks like a URI is a folder where it begins as a path does."""
    assert read_settings(halo_staging="./a:b").halo_staging == "a:b"


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:9"])
def test_plain_http_is_for_this_machine_alone(in_folder: Path, url: str) -> None:
    """A loopback host may be spoken to without TLS."""
    assert read_settings(halo_api_url=url).halo_api_url == url


def test_a_settings_file_that_is_not_there_is_refused(in_folder: Path) -> None:
    """A misspelt path is not taken for an empty file."""
    with pytest.raises(SettingsError, match="there is no file"):
        read_settings(in_folder / "nowhere.env")


def test_every_setting_says_what_it_is() -> None:
    """Each has a description that ends as a sentence does."""
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("HALO_STAGING='/srv/hunter2", "line 2 of .env is not NAME=value"),
        ("just hunter2", "line 2 of .env is not NAME=value"),
        ("HALO_STAGNIG=hunter2", "line 2 of .env: HALO_STAGNIG is no setting; did you mean HALO_S"),
        ("export USM_SENSER=hunter2", "USM_SENSER is no setting; did you mean USM_SENSOR"),
        ("HALO_WHATEVER=hunter2", "HALO_WHATEVER is no setting; there are HALO_API_URL, "),
    ],
)
def test_a_line_that_would_leave_a_setting_at_its_default_is_refused(
    in_folder: Path, line: str, message: str
) -> None:
    """The message says which line and what to do, and never the value."""
    (in_folder / ".env").write_text(f"# ours\n{line}\nHALO_CONCURRENCY=2\n")
    with pytest.raises(SettingsError, match=message) as caught:
        read_settings()
    assert "hunter2" not in str(caught.value)


def test_a_settings_file_may_hold_other_programs_settings(in_folder: Path) -> None:
    """Names that are none of ours, comments, and what only deploys are left alone."""
    (in_folder / ".env").write_text("# ours\n\nAWS_REGION=x\nHALO_USM_HOME=/srv\n")
    assert read_settings().halo_staging == "data"
