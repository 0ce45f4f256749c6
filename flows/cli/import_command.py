"""`halo-usm import-connector`: takes over the keys and timestamps of the vendor's connector."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import Annotated

from cyclopts import Parameter

from flows.cli.execution import DONE
from flows.cli.options import NO_COMMON, Auth, Common
from flows.cli.output import say, warn
from flows.context import prepare
from tasks.errors import SettingsError


def import_connector(
    folder: Annotated[Path, Parameter(help="Where the connector's .auth file lies.")],
    *,
    write: Annotated[
        bool, Parameter(help="Take over; without, only say what would be.", negative="")
    ] = False,
    auth: Auth = None,
    common: Common = NO_COMMON,
) -> int:
    """Go on where the vendor's Python 2 connector stopped: its keys, and its timestamps."""
    from tasks.accounts import open_to_others
    from tasks.old_connector.reader import read_old_connector
    from tasks.old_connector.takeover import plan_takeover, take_over

    work = prepare(common.env_file, {"halo_auth_file": auth}, writes=write)
    auth_file = work.settings.halo_auth_file
    plan = plan_takeover(work.store, read_old_connector(folder, auth_file), auth_file)
    for line in plan.said:
        say(line)
    for warning in plan.warnings:
        warn(f"warning: {warning}")
    if plan.conflict:
        raise SettingsError(plan.conflict)
    if plan.new_file:
        say(f"auth file {plan.auth_file}: new, with {len(plan.new_file)} of the connector's keys")
    elif warning := open_to_others(plan.auth_file):
        warn(f"warning: {warning}")
    if plan.nothing_to_do:
        say("Nothing to do: all of it is taken over.")
    elif write:
        take_over(work.store, plan)
        say("Taken over.")
    else:
        say("Nothing was written. End the connector's schedule, then take over with --write.")
    return DONE
