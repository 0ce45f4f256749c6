"""The command line. Each command checks its settings, runs its pipeline, and shows the outcome.

Exit codes: 0 all done · 1 something failed or stays pending · 2 wrong usage or settings, and
nothing was touched · 130 interrupted.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from flows.cli.execution import DONE, FAILED, exit_code, run_pipeline
from flows.cli.options import (
    NO_COMMON,
    NOT_ASKED,
    Auth,
    Common,
    InPrefect,
    Json,
    Only,
    Since,
    Starting,
    Until,
    Wait,
)
from flows.cli.output import warn
from flows.context import (
    check_halo_has,
    first_readings,
    parse_range,
    prepare,
    range_if_given,
    wait_seconds,
)
from tasks.errors import SettingsError
from tasks.redaction import foreign_text

if TYPE_CHECKING:
    from collections.abc import Sequence


def _version() -> str:
    from importlib.metadata import version

    return version("halo-usm")


app = App(
    name="halo-usm",
    help="CloudPassage Halo security events to a USM Anywhere sensor, with proof of delivery.",
    help_epilogue="Settings: environment variables or a .env file, see the README.",
    version=_version,
    suppress_keyboard_interrupt=False,  # `exit_code` chooses the exit code
)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; expected faults are one message on stderr."""
    return exit_code(
        lambda: app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    )


@app.command(help_epilogue="Example: halo-usm demo --keep")
def demo(
    *,
    keep: Annotated[
        bool, Parameter(help="Leave the Prefect UI open until Ctrl-C.", negative="")
    ] = False,
) -> int:
    """Show everything on this machine: a Halo stand-in, a receiver, and a sync between them."""
    try:
        from flows.cli.demo import run_demo
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"the demo needs the library {error.name}: pip install 'halo-usm[demo]'"
        ) from None
    return run_demo(keep=keep)


@app.command(help_epilogue="Example: halo-usm check --env-file /etc/halo-usm.env")
def check(*, auth: Auth = None, common: Common = NO_COMMON) -> int:
    """Say whether the auth file, each key, the staging and each sensor are usable; send nothing."""
    from flows.cli.check import run_check
    from tasks.settings import read_settings

    settings = read_settings(common.env_file, halo_auth_file=auth)
    return DONE if run_check(settings) else FAILED


@app.command(help_epilogue="Example: halo-usm sync --lookback 1440")
def sync(
    *,
    starting: Starting = None,
    auth: Auth = None,
    lookback: Annotated[
        int | None, Parameter(help="Minutes of covered time to read again, for late events.")
    ] = None,
    wait: Wait = None,
    in_prefect: InPrefect = NOT_ASKED,
    common: Common = NO_COMMON,
) -> int:
    """One pass for all accounts: extract what is new, transform it, load it."""
    from flows import pipeline

    return run_pipeline(
        partial(pipeline.sync, wait=wait_seconds(wait, asked=lookback is not None)),
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


@app.command(help_epilogue="Example: halo-usm extract --since 2026-03-01 --until 2026-03-08")
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
    seconds = wait_seconds(wait, asked=window is not None)
    return run_pipeline(
        partial(pipeline.extract, window=window, wait=seconds),
        common.env_file,
        {"halo_start": starting, "halo_auth_file": auth},
        accounts=True,
    )


@app.command(help_epilogue="Example: halo-usm transform --since 2026-03-01 --until 2026-03-08")
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
    seconds = wait_seconds(wait, asked=window is not None)
    return run_pipeline(partial(pipeline.transform, window=window, wait=seconds), common.env_file)


@app.command(help_epilogue="Example: halo-usm load")
def load(*, common: Common = NO_COMMON) -> int:
    """Only deliver what is normalized and not delivered, whether never tried or failed."""
    from flows import pipeline

    return run_pipeline(pipeline.load, common.env_file, sensors=True)


@app.command(
    help_epilogue="Example: halo-usm replay --since 2026-03-01 --until 2026-03-02 --only all"
)
def replay(
    *,
    since: Since,
    until: Until = None,
    only: Only = "failed",
    destination: Annotated[
        str | None, Parameter(help="One destination by name; all by default.")
    ] = None,
    wait: Wait = None,
    in_prefect: InPrefect = NOT_ASKED,
    common: Common = NO_COMMON,
) -> int:
    """Deliver a range again from staging; no Halo call is made."""
    from flows import pipeline

    window = parse_range(since, until)
    return run_pipeline(
        partial(
            pipeline.replay,
            window=window,
            only=only,
            wait=wait_seconds(wait, asked=True),
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


@app.command(help_epilogue="Example: halo-usm status --json")
def status(
    *, as_json: Annotated[Json, Parameter(name="--json")] = False, common: Common = NO_COMMON
) -> int:
    """Per account and destination: what is covered, staged, delivered, pending, failed."""
    from flows.cli.tables import show_answer, show_status
    from tasks.reports.status import status as read_status

    work = prepare(common.env_file, sensors=None)
    answer = read_status(work.store, work.destinations, first_readings(work.settings))
    return show_answer(answer, None if as_json else show_status)


@app.command(help_epilogue="Example: halo-usm audit --since 2026-03-01 --until 2026-04-01 --json")
def audit(
    *,
    event: Annotated[str | None, Parameter(help="One event by its id: its whole history.")] = None,
    since: Annotated[str | None, Parameter(help="Start of a range to account for.")] = None,
    until: Until = None,
    as_json: Annotated[Json, Parameter(name="--json")] = False,
    common: Common = NO_COMMON,
) -> int:
    """Answer an auditor: one event's whole history, or whether a range adds up."""
    from flows.cli.tables import show_answer, show_event, show_range
    from tasks.reports.audit import audit_event, audit_range

    if (event is None) == (since is None):
        raise SettingsError("audit: say either --event ID or --since T (with --until T)")
    if event is not None and not _is_text(event):
        raise SettingsError(f"audit: --event '{foreign_text(event)}' is no UTF-8, as every id is")
    window = range_if_given(since, until)
    work = prepare(common.env_file, sensors=None)
    if window is None:
        history = audit_event(work.store, event or "")
        return show_answer(history, None if as_json else show_event)
    found = audit_range(work.store, window, work.destinations)
    return show_answer(found, None if as_json else show_range)


@app.command(
    help_epilogue="Example: halo-usm export --since 2026-03-01 --format leef --output march.leef"
)
def export(
    *,
    since: Since,
    until: Until = None,
    format: Annotated[  # noqa: A002 - the option's name is the interface
        Literal["cef", "leef", "kv", "json"], Parameter(help="One line an event in each.")
    ],
    output: Annotated[Path | None, Parameter(help="A file; standard output by default.")] = None,
    common: Common = NO_COMMON,
) -> int:
    """Write a range of events from staging to a file or standard output."""
    from tasks.reports.export import export_to

    window = parse_range(since, until)
    count = export_to(prepare(common.env_file).store, window, format, output)
    warn(f"{count} events exported")
    return DONE


def _is_text(argument: str) -> bool:
    """Whether an argument is UTF-8; Python reads other bytes as lone surrogates."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True
