"""The flow `replay`: a date range delivered again from staging, by hand."""

# Annotations are no strings here: Prefect could not resolve them through the decorators.
from pathlib import Path
from typing import Any, Literal

from prefect import State, flow
from prefect.runtime import flow_run

from flows import pipeline
from flows.context import prepare
from flows.flow_report import end_flow
from flows.form import BlockNames, OrEmpty, Time, WaitMinutes, validated
from flows.prefect_runner import prefect_runner
from flows.run_names import named_by_range
from flows.states import faults_as_states, plan_state
from flows.time_options import range_between, wait_seconds
from tasks.load.replay_plan import plan_replay


# the parameters are validated by `validated`
@flow(name="replay", flow_run_name=named_by_range, validate_parameters=False, persist_result=False)
@faults_as_states
@validated
def replay(  # noqa: PLR0917 - in the order of Prefect's form
    since: Time,
    until: OrEmpty[Time] = None,
    only: Literal["failed", "undelivered", "all"] = "failed",
    destination: OrEmpty[str] = None,
    sensors: BlockNames = None,
    wait: WaitMinutes = 10,
    dry_run: bool = False,  # noqa: FBT001, FBT002 - a field of the form
    env_file: OrEmpty[Path] = None,
) -> State[Any]:
    """Deliver the events of a range again from staging; no Halo call is made.

    Args:
        since: Start of the range.
        until: End of the range, not part of it. Now where empty.
        only: Which events of the range: those whose last attempt failed, all that are not
            delivered, or all.
        destination: The name of one destination, as status shows it. All where empty.
        sensors: Names of blocks of the type USM Sensor, in the place of USM_SENSOR.
        wait: Minutes to wait for another run that holds a destination.
        dry_run: Only say how many events would go where, by destination, account and day.
        env_file: Another settings file than .env in the folder of the flows.
    """
    window = range_between(since, until)
    context = prepare(
        env_file,
        sensors=True,
        writes=not dry_run,
        destination=destination,
        sensor_blocks=sensors or [],
        run_id=flow_run.id,
    )
    if dry_run:
        return plan_state(plan_replay(context.store, context.destinations, window, only))
    with prefect_runner(context) as runner:
        results = pipeline.replay(
            context,
            runner,
            window,
            only,
            wait=wait_seconds(wait, in_turn=True),
            env_file=env_file,
        )
    return end_flow(context, results)
