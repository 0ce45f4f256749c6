"""The settings: environment over settings file, checked as a whole before anything is touched."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
)

from tasks.errors import SettingsError, explain
from tasks.halo_history import HALO_BEGAN
from tasks.redaction import LONGEST_PATH, foreign_text, redact_address
from tasks.setting_values import (
    address,
    api_url,
    auth_file,
    base_url,
    dask_address,
    is_uri,
    shown,
    staging,
)
from tasks.time_window import parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dotenv.parser import Binding
    from pydantic_core import ErrorDetails

_PREFECT = "PREFECT_"
_OURS = ("HALO_", "USM_")
_NOT_READ_HERE = {"HALO_USM_HOME"}
"""Names that a settings file may hold although no command reads them."""


class Sensors(BaseModel):
    """Sensor URLs as given, and the folder that relative paths in them start from."""

    model_config = ConfigDict(frozen=True)

    text: str
    folder: Path


def _time(value: object) -> object:
    return parse_time(value, "HALO_START") if isinstance(value, str) else value


def _start(moment: datetime | None) -> datetime | None:
    now = datetime.now(UTC)
    if moment is not None and moment < HALO_BEGAN:
        raise ValueError(f"there was no Halo before {HALO_BEGAN.year}; write a later time")
    if moment is not None and moment > now:
        raise ValueError(
            f"it is in the future, by this machine's clock, which says {now:%Y-%m-%dT%H:%M:%SZ}; "
            "write an earlier time, or set the clock (NTP)"
        )
    return moment


def _sensors(value: object) -> object:
    if not isinstance(value, str):
        return value
    return Sensors(text=value, folder=Path.cwd()) if value.strip() else None


LookbackMinutes = Annotated[int, Field(ge=0, le=90 * 24 * 60)]
"""How much of covered time a sync reads again."""


KeptDays = Annotated[int, Field(ge=1, le=36_500)]
"""How many days something is kept."""


class Settings(BaseModel):
    """Every setting, under the name of its environment variable in lower case."""

    model_config = ConfigDict(frozen=True)

    halo_api_url: Annotated[str, AfterValidator(api_url)] = Field(
        "https://api.cloudpassage.com",
        description="Base URL of the Halo API; http:// only for a loopback host.",
    )
    halo_auth_file: Annotated[Path, AfterValidator(auth_file)] = Field(
        Path("haloEvents.auth"),
        description="One key_id|secret or key_id|secret|account a line, any number of accounts.",
    )
    halo_staging: Annotated[str, AfterValidator(staging)] = Field(
        "data",
        validate_default=True,
        description="Where Parquet is staged: a folder, or a URI that pyarrow opens.",
    )
    halo_staging_locks: Literal["auto", "none"] = Field(
        "auto",
        description="On object storage a lease an account and destination; "
        "`none` says that there is never another run.",
    )
    halo_start: Annotated[datetime | None, BeforeValidator(_time), AfterValidator(_start)] = Field(
        None,
        description="Where the very first sync of an account begins; 90 days ago by default.",
    )
    halo_lookback_minutes: LookbackMinutes = Field(
        15,
        description="Minutes of covered time that every sync reads again, for late events.",
    )
    halo_concurrency: int = Field(
        8, ge=1, le=128, description="Requests in flight for one account."
    )
    halo_requests_per_second: float | None = Field(
        None,
        ge=0.01,
        description="A ceiling of requests a second for one account; none by default.",
    )
    halo_device_address: Annotated[str, AfterValidator(address)] = Field(
        "50.57.180.190",
        description="Address of the reporting device: rep_device_address, the CEF dvc.",
    )
    halo_retention_days: KeptDays = Field(
        90, description="Days that `maintain` keeps of raw, normalized and rejected events."
    )
    halo_ledger_days: KeptDays = Field(
        400,
        description="Days that `maintain` keeps of the ledger; at least as long as the events.",
    )
    usm_sensor: Annotated[Sensors | None, BeforeValidator(_sensors)] = Field(
        None,
        description="Where events go: one or more sensor URLs, separated by white space.",
    )
    halo_task_runner: Literal["threads", "dask"] = Field(
        "threads",
        description="Where the steps of a flow run are run: in its process, or on Dask workers.",
    )
    halo_dask_address: Annotated[str | None, AfterValidator(dask_address)] = Field(
        None,
        description="The Dask scheduler, such as tcp://scheduler:8786 or tls://scheduler:8786.",
    )

    _prefect: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def prefect(self) -> Mapping[str, str]:
        """Prefect's own settings in the settings file, by the name of their variable.

        Prefect finds them once `flows.context.export_prefect_settings` was called.
        """
        return MappingProxyType(self._prefect)


def read_settings(env_file: Path | None = None, **flags: Any) -> Settings:
    """The settings from flags, the environment and the settings file, in this order.

    Args:
        env_file: A settings file; `.env` in the working folder by default, where there is one.
        flags: Settings given on the command line, by field name; None where not given.

    Raises:
        SettingsError: The file is missing, or a setting cannot be used; nothing was touched.
    """
    path = env_file or Path(".env")
    given = {name: value for name, value in flags.items() if value is not None}
    outside = {name: os.environ.get(name.upper()) for name in Settings.model_fields}
    try:
        there = path.is_file()
        if env_file is not None and not there:
            raise SettingsError(
                f"--env-file: there is no file {foreign_text(path, LONGEST_PATH)}; check the path"
            )
        in_file, prefect = _from_file(path) if there else ({}, {})
        settings = Settings(
            **in_file | {name: value for name, value in outside.items() if value} | given
        )
    except ValidationError as error:
        faults = error.errors(include_url=False)
        raise SettingsError(*map(_describe, faults)) from None
    except (OSError, UnicodeError) as error:
        raise SettingsError(explain(error, f"the settings file {path}")) from None
    settings._prefect.update(prefect)  # noqa: SLF001 - no setting of ours, so no field
    prefect_api_url(prefect | os.environ)
    return settings


def _from_file(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The file's settings by field name, relative paths made to start from its folder.

    Prefect's own settings come second, by the name of their variable.
    """
    folder = path.absolute().parent
    text = path.read_text("utf-8-sig")
    if "\0" in text:
        number = text[: text.index("\0")].count("\n") + 1
        raise SettingsError(
            f"line {number} of {foreign_text(path, LONGEST_PATH)} holds a NUL character; write the "
            "line anew"
        )
    for line in parse_stream(StringIO(text)):
        _check_line(path, line)
    values: dict[str, Any] = {}
    prefect: dict[str, str] = {}
    for name, value in dotenv_values(stream=StringIO(text)).items():
        if not value:
            continue
        if name.startswith(_PREFECT):
            prefect[name] = value
        elif name.lower() == "usm_sensor":
            values["usm_sensor"] = Sensors(text=value, folder=folder)
        elif name.lower() == "halo_auth_file" or (
            name.lower() == "halo_staging" and not is_uri(value)
        ):
            values[name.lower()] = value if value.startswith("~") else str(folder / value)
        elif name.lower() in Settings.model_fields:
            values[name.lower()] = value
    return values, prefect


def _check_line(path: Path, line: Binding) -> None:
    """Refuse a line that would silently leave a setting at its default.

    Raises:
        SettingsError: The line is not NAME=value, or its name looks like a setting and is none.
    """
    where = f"line {line.original.line} of {foreign_text(path, LONGEST_PATH)}"
    if line.error:
        raise SettingsError(
            f"{where} is not NAME=value; close its quotes, or begin it with # if it is a comment"
        )
    name = (line.key or "").upper()
    if not name.startswith(_OURS) or name in _NOT_READ_HERE:
        return
    known = [field.upper() for field in Settings.model_fields]
    if name not in known:
        meant = get_close_matches(name, known, n=1, cutoff=0.8)
        remedy = f"; did you mean {meant[0]}?" if meant else f"; there are {', '.join(known)}"
        raise SettingsError(f"{where}: {foreign_text(name)} is no setting{remedy}")


def _describe(fault: ErrorDetails) -> str:
    name = str(fault["loc"][0])
    description = Settings.model_fields[name].description
    reason = fault["msg"].removeprefix("Value error, ")
    return f"{name.upper()}: '{shown(name, str(fault['input']))}': {reason}. ({description})"


def prefect_api_url(environment: Mapping[str, str] = os.environ) -> str | None:
    """The Prefect API that is configured, or None: then no flow run is made.

    Raises:
        SettingsError: It is no URL.
    """
    text = environment.get("PREFECT_API_URL")
    if not text:
        return None
    try:
        # Prefect writes this address into its log.
        base_url(text, "http://127.0.0.1:4200/api", "PREFECT_API_AUTH_STRING")
    except ValueError as error:
        raise SettingsError(
            f"PREFECT_API_URL: '{redact_address(text)}': {error}; or unset it to run without "
            "Prefect"
        ) from None
    return text
