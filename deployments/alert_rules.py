"""What is alerted: the automations as data, for `deployments/alerts.py`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flows.prefect_events import CERTIFICATE, PENDING, REJECTED, TAG, TYPE_LABEL, UNKNOWN_TYPE

_DAY = timedelta(days=1)
_RUN = "Run {{ flow_run.name }} of flow {{ flow.name }}"
_MESSAGE = "{{ flow_run.state.message }}\n{{ flow_run|ui_url or '' }}"
_ANY_EVENT = "prefect.flow-run.*"


@dataclass(frozen=True)
class Alert:
    """An automation; its subject is its name.

    Attributes:
        meaning: When it fires, and how often.
        trigger: The options of Prefect's `EventTrigger`. `within` is how long it is quiet, for the
            same thing, after it has fired; where the absence of events fires, how long they may be
            absent.
        body: The text that is sent, a template; see Prefect's documentation of automations.
        crashes: Whether the flow run concerned becomes `Crashed`, which another alert tells.
    """

    name: str
    meaning: str
    trigger: dict[str, Any]
    body: str = ""
    crashes: bool = False


def alerts(
    *, quiet: timedelta, without_success: timedelta, without_heartbeat: timedelta, work_pool: str
) -> list[Alert]:
    """Every alert there is; for the arguments see the options of the command."""
    tagged = {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"}
    of_sync = {"prefect.resource.role": "flow", "prefect.resource.name": "sync"}
    run = {"match": {"prefect.resource.id": "prefect.flow-run.*"}}
    ours = run | {"match_related": tagged}
    resource = "prefect.resource.id"
    flow, deployment = f"related:flow:{resource}", f"related:deployment:{resource}"
    completed = {"prefect.flow-run.Completed"}
    return [
        Alert(
            "halo-usm: a run failed",
            "A run of one of our flows failed; again only after a quiet time, for each flow.",
            ours | {"expect": {"prefect.flow-run.Failed"}, "for_each": {flow}, "within": quiet},
            f"{_RUN} failed:\n{_MESSAGE}",
        ),
        Alert(
            "halo-usm: a run crashed",
            "The process or machine of a run was lost; again only after a quiet time.",
            ours | {"expect": {"prefect.flow-run.Crashed"}, "for_each": {flow}, "within": quiet},
            f"{_RUN} was lost. A sync goes on at its next run; a replay is to be run again.\n"
            f"{_MESSAGE}",
        ),
        Alert(
            "halo-usm: a run never started",
            "A scheduled run is late; again only after a quiet time, for each deployment.",
            ours | {"expect": {"prefect.flow-run.Late"}, "for_each": {deployment}, "within": quiet},
            f"{_RUN} should have begun at {{{{ flow_run.expected_start_time }}}}. Is a worker "
            "there, or has it too much to do?\n{{ flow_run|ui_url or '' }}",
        ),
        Alert(
            "halo-usm: no worker",
            f"No worker of the work pool {work_pool} is online any more.",
            {
                "match": {
                    resource: "prefect.work-pool.*",
                    "prefect.resource.name": work_pool,
                },
                "expect": {"prefect.work-pool.not-ready"},
                "for_each": {resource},
                "within": quiet,
            },
            "No worker of the work pool {{ event.resource['prefect.resource.name'] }} is online. "
            "Start one: prefect worker start --pool {{ event.resource['prefect.resource.name'] }}",
        ),
        Alert(
            "halo-usm: a run gives no sign of life",
            "Marks a run without a heartbeat as crashed, which is alerted. Runs send "
            "one every three minutes (PREFECT_FLOWS_HEARTBEAT_FREQUENCY).",
            ours
            | {
                "posture": "Proactive",
                # a run that is lost at once sends no heartbeat
                "after": {"prefect.flow-run.Running", "prefect.flow-run.heartbeat"},
                "expect": {_ANY_EVENT},
                "for_each": {resource},
                "within": without_heartbeat,
            },
            crashes=True,
        ),
        Alert(
            "halo-usm: no successful sync",
            "Since the last successful sync, too much time went by; once, until the next one.",
            run
            | {
                "match_related": [tagged, of_sync],
                "posture": "Proactive",
                "after": completed,
                "expect": completed,
                # without it, Prefect neither waits for the first success nor fires only once
                "for_each": {flow},
                "within": without_success,
            },
            "No sync has succeeded since that of {{ flow_run.end_time }}. Look at the runs since, "
            "or whether there are any.\n{{ flow_run|ui_url or '' }}",
        ),
        Alert(
            "halo-usm: events are pending",
            "The oldest event that a destination did not get is more than an hour old; again only "
            "after a quiet time, for each destination.",
            {"expect": {PENDING}, "for_each": {resource}, "within": quiet},
            "Destination {{ event.resource['prefect.resource.name'] }}: {{ event.payload.pending }}"
            " events are pending, the oldest of {{ event.payload.oldest_pending }}; "
            "{{ event.payload.failed }} of them failed. `halo-usm check` tells whether the "
            "destination can be reached.",
        ),
        Alert(
            "halo-usm: events were rejected",
            "A run rejected events; again only after a quiet time, for each account.",
            {"expect": {REJECTED}, "for_each": {resource}, "within": quiet},
            "Account {{ event.resource['prefect.resource.name'] }}: {{ event.payload.rejected }} "
            "events were rejected. They are in rejected/ of the staging, with the reason.",
        ),
        Alert(
            "halo-usm: events of an unknown type",
            "A run met a type that the catalogue does not know; once a day for each account and "
            "type.",
            {"expect": {UNKNOWN_TYPE}, "for_each": {resource, TYPE_LABEL}, "within": _DAY},
            "Account {{ event.resource['prefect.resource.name'] }}: {{ event.payload.events }} "
            "events are of type '{{ event.payload.type }}', which the catalogue "
            "(tasks/plugin/event_types.csv) does not know. They went out with signature id 999.",
        ),
        Alert(
            "halo-usm: a certificate expires",
            "A certificate of a destination expires within 14 days; once a day.",
            {"expect": {CERTIFICATE}, "for_each": {resource}, "within": _DAY},
            "Destination {{ event.resource['prefect.resource.name'] }}:"
            "{% for one in event.payload.certificates %}\n{{ one.whose }} expires at "
            "{{ one.until }}; {{ one.remedy }}{% endfor %}",
        ),
    ]
