"""The flow `sync`: one pass over all accounts and destinations."""

# Annotations are no strings here: Prefect could not resolve them through the decorator.
from pathlib import Path
from typing import Any

from prefect import State, flow

from flows import pipeline
from flows.context import prepare, wait_seconds
from flows.flow_report import end_flow
from flows.prefect_runner import prefect_runner
from flows.states import faults_as_states


@flow(name="sync", validate_parameters=True, persist_result=False)
@faults_as_states
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
    flags = {
        "halo_start": starting,
        "halo_lookback_minutes": lookback,
        "halo_auth_file": auth_file,
    }
    seconds = wait_seconds(wait, asked=lookback is not None)
    context = prepare(env_file, flags, accounts=True, sensors=True, writes=True)
    with prefect_runner(context.stop) as runner:
        results = pipeline.sync(context, runner, wait=seconds)
    return end_flow(context, results)
