"""The options that several commands have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

Since = Annotated[str, Parameter(help="Start of the range, ISO 8601; a bare date is its 00:00.")]
Until = Annotated[str | None, Parameter(help="End of the range, not part of it; now by default.")]
Json = Annotated[bool, Parameter(help="Print JSON, for machines.", negative="")]
Auth = Annotated[Path | None, Parameter(help="The file of keys; wins over HALO_AUTH_FILE.")]
Starting = Annotated[
    str | None, Parameter(help="Where the very first sync of an account begins; HALO_START.")
]
Only = Annotated[
    Literal["failed", "undelivered", "all"],
    Parameter(help="Which events: last attempt failed, not delivered, or all."),
]
Wait = Annotated[
    float | None,
    Parameter(
        help="Minutes to wait for another run that holds the account or destination; by default "
        "10 for a replay, a range or --lookback, else 0."
    ),
]


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """The options of every command."""

    env_file: Annotated[
        Path | None,
        Parameter(help="Another settings file than .env; its paths start from its folder."),
    ] = None


@Parameter(name="*")
@dataclass(frozen=True)
class InPrefect:
    """The options of the commands that are Prefect flows."""

    prefect: Annotated[
        bool,
        Parameter(
            help="Run as a flow on Prefect's own temporary server where no API is configured.",
            negative="",
        ),
    ] = False


NO_COMMON = Common()
NO_PREFECT = InPrefect()
