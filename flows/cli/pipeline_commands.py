"""The commands that extract, transform, deliver and maintain: each runs a pipeline."""

from __future__ import annotations

from functools import partial
from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from flows.cli.execution import DONE, FAILED, run_pipeline
from flows.cli.options import (
    NO_COMMON,
    NO_PREFECT,
    Auth,
    Common,
    InPrefect,
    Only,
    Since,
    Starting,
    Until,
    Wait,
)
from flows.cli.output import say, warn
from flows.context import prepare
from flows.time_options import check_halo_has, parse_range, range_if_given, wait_seconds

if TYPE_CHECKING:
    from flows.context import RunContext
    from tasks.time_window import Window


def sync(
    *,
    starting: Starting = None,
    auth: Auth = None,
    lookback: Annotated[
        int | None, Parameter(help="Minutes of covered time to read again, for late events.")
    ] = None,
    wait: Wait = None,
    in_prefect: InPrefect = NO_PREFECT,
    common: Common = NO_COMMON,
) -> int:
    """One pass for all accounts: extract what is new, transform it, load it."""
    from flows import pipeline

    return run_pipeline(
        partial(pipeline.sync, wait=wait_seconds(wait, in_turn=lookback is not None)),
        common.env_file,
        {
            "halo_start": starting,
            "halo_auth_file": auth,
            "halo_lookback_minutes": lookback,
        },
        accounts=True,
        sensors=True,
        flow="sync",
        prefect=in_prefect.prefect,
        parameters={
            "starting": starting,
            "lookback": lookback,
            "wait": wait,
            "auth_file": auth,
            "env_file": common.env_file,
        },
    )


def extract(
    *,
    since: Annotated[str | None, Parameter(help="Start of the range, ISO 8601.")] = None,
    until: Until = None,
    wait: Wait = None,
    starting: Starting = None,
    auth: Auth = None,
    common: Common = NO_COMMON,
) -> int:
    """Only stage raw events: of a range, which is read again, or what a sync would."""
    from flows import pipeline

    window = range_if_given(since, until)
    if window is not None:
        check_halo_has(window)
    seconds = wait_seconds(wait, in_turn=window is not None)
    return run_pipeline(
        partial(pipeline.extract, window=window, wait=seconds),
        common.env_file,
        {"halo_start": starting, "halo_auth_file": auth},
        accounts=True,
    )


def transform(
    *,
    since: Annotated[str | None, Parameter(help="Start of a range to normalize again.")] = None,
    until: Until = None,
    wait: Wait = None,
    common: Common = NO_COMMON,
) -> int:
    """Only normalize: whatever has no normalized file yet, or a range again."""
    from flows import pipeline

    window = range_if_given(since, until)
    seconds = wait_seconds(wait, in_turn=window is not None)
    return run_pipeline(partial(pipeline.transform, window=window, wait=seconds), common.env_file)


def load(*, common: Common = NO_COMMON) -> int:
    """Only deliver what is normalized and not delivered, whether never tried or failed."""
    from flows import pipeline

    return run_pipeline(pipeline.load, common.env_file, sensors=True)


def replay(
    *,
    since: Since,
    until: Until = None,
    only: Only = "failed",
    destination: Annotated[
        str | None, Parameter(help="One destination by name; all by default.")
    ] = None,
    dry_run: Annotated[
        bool,
        Parameter(
            help="Only say how many events would go where; nothing is sent, and no flow run made.",
            negative="",
        ),
    ] = False,
    wait: Wait = None,
    in_prefect: InPrefect = NO_PREFECT,
    common: Common = NO_COMMON,
) -> int:
    """Deliver a range again from staging; no Halo call is made."""
    from flows import pipeline

    window, seconds = parse_range(since, until), wait_seconds(wait, in_turn=True)
    if dry_run:
        return _show_plan(
            prepare(common.env_file, sensors=True, destination=destination), window, only
        )
    return run_pipeline(
        partial(
            pipeline.replay,
            window=window,
            only=only,
            wait=seconds,
            env_file=common.env_file,
        ),
        common.env_file,
        sensors=True,
        destination=destination,
        flow="replay",
        prefect=in_prefect.prefect,
        parameters={
            "since": since,
            "until": until,
            "only": only,
            "destination": destination,
            "wait": wait,
            "env_file": common.env_file,
        },
    )


def maintain(
    *,
    dry_run: Annotated[
        bool, Parameter(help="Only say what would be done; nothing is changed.", negative="")
    ] = False,
    sign: Annotated[
        Path | None, Parameter(help="Sign the seals with the Ed25519 key in this file.")
    ] = None,
    drop_undelivered: Annotated[
        bool,
        Parameter(help="Drop old events, too, that a destination has not got.", negative=""),
    ] = False,
    in_prefect: InPrefect = NO_PREFECT,
    common: Common = NO_COMMON,
) -> int:
    """Compact small files, seal the days that are over, drop what is older than the retention."""
    from flows import pipeline

    options: dict[str, Any] = {
        "dry_run": dry_run,
        "sign": sign,
        "drop_undelivered": drop_undelivered,
    }
    return run_pipeline(
        partial(pipeline.maintain, **options),
        common.env_file,
        sensors=None,
        writes=not dry_run,
        flow="maintain",
        prefect=in_prefect.prefect,
        parameters={**options, "env_file": common.env_file},
    )


def _show_plan(context: RunContext, window: Window, only: Only) -> int:
    """Print what a replay would send."""
    from flows.dry_run import plan_table
    from tasks.load.replay_plan import plan_replay

    plan = plan_replay(context.store, context.destinations, window, only)
    for line in plan_table(plan).splitlines():
        say(line)
    for note in plan.notes:
        warn(f"note: {note}")
    for problem in plan.problems:
        warn(f"error: {problem}")
    return FAILED if plan.problems else DONE
