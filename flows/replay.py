"""The flow `replay`: a date range delivered again from staging, by hand."""

# Annotations are no strings here: Prefect could not resolve them through the decorator.
from pathlib import Path
from typing import Any, Literal

from prefect import State, flow

from flows import pipeline
from flows.context import parse_range, prepare, wait_seconds
from flows.flow_report import end_flow
from flows.prefect_runner import prefect_runner
from flows.states import faults_as_states


@flow(name="replay", validate_parameters=True, persist_result=False)
@faults_as_states
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
    window = parse_range(since, until)
    seconds = wait_seconds(wait, asked=True)
    context = prepare(env_file, sensors=True, writes=True, destination=destination)
    with prefect_runner(context.stop) as runner:
        results = pipeline.replay(context, runner, window, only, wait=seconds, env_file=env_file)
    return end_flow(context, results)
