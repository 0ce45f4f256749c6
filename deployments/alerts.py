"""Makes the automations that alert, on the Prefect server of PREFECT_API_URL.

    python deployments/alerts.py --notify slack-webhook/ops

It can be run again at any time: what it made is updated, never made twice. An alert that was
switched off on Prefect's pages stays off.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated

import httpx
from cyclopts import App, Parameter

from flows.cli.execution import DONE, exit_code
from flows.cli.output import say
from flows.context import export_prefect_settings
from tasks.errors import HaloUsmError, SettingsError
from tasks.redaction import foreign_text, redact_address
from tasks.settings import prefect_api_url, read_settings

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import BlockDocument
    from prefect.events import ActionTypes, AutomationCore

    from deployments.alert_rules import Alert

app = App(
    name="alerts.py",
    help="Make the automations that alert, or update them, on the Prefect server.",
    help_epilogue="Example: python deployments/alerts.py --notify slack-webhook/ops",
    suppress_keyboard_interrupt=False,
)


@app.default
def make(
    *,
    notify: Annotated[
        str | None,
        Parameter(help="TYPE/NAME of the notification block that sends; without, say which exist."),
    ] = None,
    quiet: Annotated[
        float, Parameter(help="Minutes for which an alert is not repeated for the same thing.")
    ] = 60,
    without_success: Annotated[
        float, Parameter(help="Minutes without a successful sync that are alerted.")
    ] = 30,
    without_heartbeat: Annotated[
        float, Parameter(help="Minutes without a heartbeat after which a run has crashed.")
    ] = 10,
    work_pool: Annotated[str, Parameter(help="The work pool of the deployments.")] = "halo-usm",
    env_file: Annotated[Path | None, Parameter(help="Another settings file than .env.")] = None,
) -> int:
    """Make or update the alerts."""
    export_prefect_settings(read_settings(env_file))
    if (url := prefect_api_url()) is None:
        raise SettingsError(
            "PREFECT_API_URL is not set: alerts are made on a Prefect server; say which, for "
            "example PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    from flows.cli.prefect_run import check_api

    check_api(url)
    from prefect.client.orchestration import get_client

    from deployments.alert_rules import alerts

    wanted = alerts(
        quiet=_minutes("--quiet", quiet),
        without_success=_minutes("--without-success", without_success),
        without_heartbeat=_minutes("--without-heartbeat", without_heartbeat),
        work_pool=work_pool,
    )
    try:
        with get_client(sync_client=True) as client:
            block = _notification_block(client, notify)
            for alert in wanted:
                say(f"{_make(client, _automation(alert, block))} '{alert.name}': {alert.meaning}")
    except httpx.HTTPError as error:
        raise HaloUsmError(
            f"the Prefect server at {redact_address(url)} refused: {foreign_text(error)}; run again"
        ) from None
    return DONE


def _minutes(option: str, value: float) -> timedelta:
    """A time that Prefect takes: it allows no absence of less than ten seconds to fire."""
    least, most = 10 / 60, 60 * 24 * 365
    if not least <= value <= most:
        raise SettingsError(f"{option}: {value:g} is no number of minutes from 0.17 to {most}")
    return timedelta(minutes=value)


def _notification_block(client: SyncPrefectClient, wanted: str | None) -> UUID:
    """The id of a block that can notify, by its type and name.

    Raises:
        SettingsError: It is not there, or none is named; the message names those that are.
    """
    blocks = {_name(block): block.id for block in _notifying(client)}
    if wanted in blocks:
        return blocks[wanted]
    there = ", ".join(sorted(blocks)) or "none yet"
    raise SettingsError(
        (
            "--notify TYPE/NAME is needed"
            if wanted is None
            else f"--notify: '{foreign_text(wanted)}' is no notification block of the server"
        )
        + f"; there are: {there}. Make one on the server's page Blocks, such as Slack Webhook, "
        "Email or Custom Webhook"
    )


def _notifying(client: SyncPrefectClient) -> list[BlockDocument]:
    found: list[BlockDocument] = []
    while page := client.read_block_documents(offset=len(found)):
        found += page
    return [
        block
        for block in found
        if block.name and block.block_schema and "notify" in block.block_schema.capabilities
    ]


def _name(block: BlockDocument) -> str:
    slug = block.block_type.slug if block.block_type else ""
    return f"{slug}/{block.name}"


def _automation(alert: Alert, block: UUID) -> AutomationCore:
    from prefect.client.schemas.objects import StateType
    from prefect.events import AutomationCore, EventTrigger
    from prefect.events.actions import ChangeFlowRunState, SendNotification

    action: ActionTypes
    if alert.crashes:
        action = ChangeFlowRunState(
            name="Crashed", state=StateType.CRASHED, message=alert.meaning, force=False
        )
    else:
        action = SendNotification(block_document_id=block, subject=alert.name, body=alert.body)
    automation = AutomationCore(
        name=alert.name,
        description=alert.meaning,
        enabled=True,
        trigger=EventTrigger(**alert.trigger),
        actions=[action],
    )
    return _in_full(automation)


def _in_full(automation: AutomationCore) -> AutomationCore:
    """The same with every field set: an update sends no other, and the server needs them."""
    from prefect.events import AutomationCore

    return AutomationCore.model_validate(automation.model_dump(exclude={"owner_resource"}))


def _make(client: SyncPrefectClient, wanted: AutomationCore) -> str:
    """Create or update an automation; what is there twice is removed.

    One that is as wanted is not touched: with an update, Prefect forgets since when it waits.
    """
    there = client.read_automations_by_name(wanted.name)
    for double in there[1:]:
        client.delete_automation(double.id)
    if not there:
        client.create_automation(wanted)
        return "made"
    wanted.enabled = there[0].enabled
    if _in_full(there[0]) == wanted:
        return "unchanged"
    client.update_automation(there[0].id, wanted)
    return "updated"


if __name__ == "__main__":
    sys.exit(
        exit_code(
            lambda: app(exit_on_error=False, print_error=False, result_action="return_value"),
            program="deployments/alerts.py",
        )
    )
