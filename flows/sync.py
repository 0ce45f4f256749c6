"""The flow `sync`: one pass over all accounts and destinations."""

# Annotations are no strings here: Prefect could not resolve them through the decorators.
from pathlib import Path
from typing import Any

from prefect import State, flow
from prefect.runtime import flow_run

from flows import pipeline
from flows.context import prepare
from flows.flow_report import end_flow
from flows.form import BlockNames, OrEmpty, Time, WaitMinutes, validated
from flows.prefect_runner import prefect_runner
from flows.run_names import named_by_time
from flows.states import faults_as_states
from flows.time_options import wait_seconds
from tasks.settings import LookbackMinutes


# the parameters are validated by `validated`
@flow(name="sync", flow_run_name=named_by_time, validate_parameters=False, persist_result=False)
@faults_as_states
@validated
def sync(  # noqa: PLR0917 - in the order of Prefect's form
    lookback: OrEmpty[LookbackMinutes] = None,
    starting: OrEmpty[Time] = None,
    wait: OrEmpty[WaitMinutes] = None,
    accounts: BlockNames = None,
    sensors: BlockNames = None,
    auth_file: OrEmpty[Path] = None,
    env_file: OrEmpty[Path] = None,
) -> State[Any]:
    """Extract what is new, transform it, load it, for all accounts.

    Args:
        lookback: Minutes of covered time to read again, for late events, 1440 for a day.
            HALO_LOOKBACK_MINUTES where empty.
        starting: Where the very first sync of an account begins. HALO_START where empty.
        wait: Minutes to wait for another run that holds an account or destination. Where empty,
            10 with a lookback, else what another run holds is left to it.
        accounts: Names of blocks of the type Halo Account, in the place of the auth file.
        sensors: Names of blocks of the type USM Sensor, in the place of USM_SENSOR.
        auth_file: The file of keys. HALO_AUTH_FILE where empty.
        env_file: Another settings file than .env in the folder of the flows.
    """
    flags = {
        "halo_start": starting,
        "halo_lookback_minutes": lookback,
        "halo_auth_file": auth_file,
    }
    seconds = wait_seconds(wait, in_turn=lookback is not None)
    context = prepare(
        env_file,
        flags,
        accounts=True,
        sensors=True,
        writes=True,
        account_blocks=accounts or [],
        sensor_blocks=sensors or [],
        run_id=flow_run.id,
    )
    with prefect_runner(context) as runner:
        results = pipeline.sync(context, runner, wait=seconds)
    return end_flow(context, results)
