"""The flow `replay`: a date range delivered again from staging, by hand."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - Prefect reads the annotations
from typing import Any, Literal

from prefect import State, flow

from flows import pipeline
from flows.context import parse_range, wait_seconds
from flows.flow_run import flow_body
from tasks.settings import read_settings


@flow(name="replay", validate_parameters=True, persist_result=False)
def replay(  # noqa: PLR0917 - in the order of Prefect's form
    since: str,
    until: str | None = None,
    only: Literal["failed", "undelivered", "all"] = "failed",
    destination: str | None = None,
    wait: float | None = None,
    env_file: Path | None = None,
) -> State[Any]:
    """Deliver the events of `[since, until)` again from staging; no Halo call is made.

    Args:
        since: Start of the range, ISO 8601.
        until: End of the range; now by default.
        only: Which events: those whose last attempt failed, those not delivered, or all.
        destination: One destination by name; all by default.
        wait: Minutes to wait for another run that holds the destination; 10 by default.
        env_file: Another settings file than `.env`.
    """
    return flow_body(
        lambda: read_settings(env_file),
        lambda context, runner: pipeline.replay(
            context,
            runner,
            parse_range(since, until),
            only,
            wait=wait_seconds(wait, asked=True),
            env_file=env_file,
        ),
        accounts=False,
        destination=destination,
    )
