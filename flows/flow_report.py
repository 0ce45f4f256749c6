"""The end of a flow run: what Prefect's pages and alerts are told, and the state it ends in.

Artifacts and events are reports. A server that refuses them, or has died, changes nothing of the
outcome, and holds the run up for some seconds at most.
"""

from __future__ import annotations

import json
import threading
from contextvars import copy_context
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey
from prefect.context import get_run_context

from flows.artifacts import (
    coverage_page,
    maintain_page,
    replay_page,
    status_description,
    status_table,
    sync_page,
)
from flows.context import first_sync_windows
from flows.prefect_events import emit_of_results, emit_pending
from flows.states import flow_state
from tasks.load.result import ReplayResult
from tasks.maintain.account import MaintainResult
from tasks.redaction import foreign_text, redact
from tasks.reports.status import status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prefect import State

    from flows.context import RunContext
    from tasks.results import StageResult

STATUS_KEY = "halo-usm-status"
COVERAGE_KEY = "halo-usm-coverage"
SYNC_KEY = "halo-usm-sync"
REPLAY_KEY = "halo-usm-replay"
MAINTAIN_KEY = "halo-usm-maintain"

_SECONDS = 15.0
_STOPPED_SECONDS = 3.0
"""How long the report may take, and where the run was asked to end."""


def end_flow(context: RunContext, results: Sequence[StageResult]) -> State[Any]:
    """Publish the artifacts and emit the events of a flow run that did these steps.

    Returns:
        The state in which the flow run ends, whatever became of the report. A report that is lost
        is a warning in the flow run's log.
    """
    faults: list[str] = []

    def report() -> None:
        try:
            _report(context, results)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not change the outcome
            faults.append(redact(str(error) or type(error).__name__).splitlines()[0])

    # a daemon: a server that does not answer must not keep the process
    thread = threading.Thread(target=copy_context().run, args=(report,), daemon=True)
    thread.start()
    seconds = _STOPPED_SECONDS if context.stop.is_set() else _SECONDS
    thread.join(seconds)
    if thread.is_alive():
        faults.append(f"not done within {seconds:g} seconds")
    if faults:
        get_run_logger().warning(
            "the artifacts and events of this run are not complete: %s", foreign_text(faults[0])
        )
    return flow_state(results)


def _report(context: RunContext, results: Sequence[StageResult]) -> None:
    now = datetime.now(UTC)
    emit_of_results(results, context.destinations)
    if any(isinstance(result, ReplayResult) for result in results):
        _publish(
            REPLAY_KEY, _Artifact("markdown", replay_page(results, now), "How a replay ended.")
        )
        return
    page, key, what = sync_page(results, now), SYNC_KEY, "What a sync did."
    if any(isinstance(result, MaintainResult) for result in results):
        page, key, what = maintain_page(results, now), MAINTAIN_KEY, "What a maintenance did."
    if page:
        _publish(key, _Artifact("markdown", page, what))
    unread = first_sync_windows(context.settings, context.accounts or None)
    answer = status(context.store, context.destinations, unread)
    emit_pending(answer, results, now)
    table = json.dumps(status_table(answer))
    artifacts = {
        STATUS_KEY: _Artifact("table", table, status_description(answer, now)),
        COVERAGE_KEY: _Artifact("markdown", coverage_page(answer, now), "Coverage and gaps."),
    }
    if page is None:
        _update(artifacts)
    else:
        for key, artifact in artifacts.items():
            _publish(key, artifact)


class _Artifact(NamedTuple):
    type: str
    data: str
    description: str


def _publish(key: str, artifact: _Artifact) -> None:
    """Publish an artifact of this flow run; those of the same key before it are its history."""
    run = get_run_context().flow_run  # type: ignore[union-attr]
    assert run is not None
    get_client(sync_client=True).create_artifact(
        ArtifactCreate(key=key, flow_run_id=run.id, **artifact._asdict())
    )


def _update(artifacts: dict[str, _Artifact]) -> None:
    """Update the latest artifacts of these keys, which belong to the last run that did something.

    New ones of every run would fill the server's database, and the history of what happened.
    """
    client = get_client(sync_client=True)
    keys = ArtifactCollectionFilterKey(any_=list(artifacts))
    latest = client.read_latest_artifacts(artifact_filter=ArtifactCollectionFilter(key=keys))
    ids = {one.key: one.latest_id for one in latest}
    for key, artifact in artifacts.items():
        if key in ids:
            change = ArtifactUpdate(data=artifact.data, description=artifact.description)
            client.update_artifact(ids[key], change)
        else:
            _publish(key, artifact)
