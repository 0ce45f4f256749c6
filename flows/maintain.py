"""The flow `maintain`: compact, seal and drop days of the staging."""

# Annotations are no strings here: Prefect could not resolve them through the decorators.
from pathlib import Path
from typing import Any

from prefect import State, flow
from prefect.runtime import flow_run

from flows import pipeline
from flows.context import prepare
from flows.flow_report import end_flow
from flows.form import BlockNames, OrEmpty, validated
from flows.prefect_runner import prefect_runner
from flows.run_names import named_by_time
from flows.states import faults_as_states


# the parameters are validated by `validated`
@flow(name="maintain", flow_run_name=named_by_time, validate_parameters=False, persist_result=False)
@faults_as_states
@validated
def maintain(
    dry_run: bool = False,  # noqa: FBT001, FBT002 - a field of the form
    sign: OrEmpty[Path] = None,
    drop_undelivered: bool = False,  # noqa: FBT001, FBT002 - a field of the form
    sensors: BlockNames = None,
    env_file: OrEmpty[Path] = None,
) -> State[Any]:
    """Compact small files, seal the days that are over, drop what is older than the retention.

    Args:
        dry_run: Only say what would be done.
        sign: The file of an Ed25519 key that the seals are signed with. Not signed where empty.
        drop_undelivered: Drop old events, too, that a destination has not got.
        sensors: Names of blocks of the type USM Sensor, in the place of USM_SENSOR.
        env_file: Another settings file than .env in the folder of the flows.
    """
    context = prepare(
        env_file,
        sensors=True if sensors else None,
        writes=not dry_run,
        sensor_blocks=sensors or [],
        run_id=flow_run.id,
    )
    with prefect_runner(context) as runner:
        results = pipeline.maintain(
            context, runner, dry_run=dry_run, sign=sign, drop_undelivered=drop_undelivered
        )
    return end_flow(context, results)
