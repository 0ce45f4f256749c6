"""The flow `sync`: one pass over all accounts and destinations."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - Prefect reads the annotations
from typing import Any

from prefect import State, flow

from flows import pipeline
from flows.context import wait_seconds
from flows.flow_run import flow_body
from tasks.settings import read_settings


@flow(name="sync", validate_parameters=True, persist_result=False)
def sync(
    starting: str | None = None,
    lookback: int | None = None,
    wait: float | None = None,
    auth_file: Path | None = None,
    env_file: Path | None = None,
) -> State[Any]:
    """Extract what is new, transform it, load it, for all accounts.

    Args:
        starting: Where the very first sync of an account begins (ISO 8601); HALO_START.
        lookback: Minutes of covered time to read again; HALO_LOOKBACK_MINUTES.
        wait: Minutes to wait for another run that holds an account or destination; 10 with
            `lookback`, else what another run holds is left to it.
        auth_file: The file of keys; HALO_AUTH_FILE.
        env_file: Another settings file than `.env`.
    """
    return flow_body(
        lambda: read_settings(
            env_file,
            halo_start=starting,
            halo_lookback_minutes=lookback,
            halo_auth_file=auth_file,
        ),
        lambda context, runner: pipeline.sync(
            context, runner, wait=wait_seconds(wait, asked=lookback is not None)
        ),
        accounts=True,
    )
