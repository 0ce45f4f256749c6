"""The command line: its commands, each with an example, and how one is run.

Exit codes: 0 all done · 1 something failed or stays pending · 2 wrong usage or settings, and
nothing was touched · 130 interrupted.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from flows.cli.execution import DONE, FAILED, exit_code, stop_on_signals
from flows.cli.import_command import import_connector
from flows.cli.options import NO_COMMON, Auth, Common
from flows.cli.pipeline_commands import extract, load, maintain, replay, sync, transform
from flows.cli.report_commands import audit, export, status
from tasks.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _version() -> str:
    from importlib.metadata import version

    return version("halo-usm")


def demo(
    *,
    keep: Annotated[
        bool, Parameter(help="Leave the Prefect UI open until Ctrl-C.", negative="")
    ] = False,
    live: Annotated[
        bool,
        Parameter(help="Go on with new events and a run every minute, until Ctrl-C.", negative=""),
    ] = False,
) -> int:
    """Show everything on this machine: a Halo stand-in, a receiver, and a sync between them."""
    try:
        if live:
            from flows.cli.demo_live import run_live as show
        else:
            from flows.cli.demo import run_demo

            show = partial(run_demo, keep=keep)
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"the demo needs the library {error.name}: pip install 'halo-usm[demo]'"
        ) from None
    return show()


def check(*, auth: Auth = None, common: Common = NO_COMMON) -> int:
    """Say whether the auth file, each key, the staging and each sensor are usable; send nothing."""
    from flows.cli.check import run_check
    from tasks.settings import read_settings

    settings = read_settings(common.env_file, halo_auth_file=auth)
    return DONE if run_check(settings) else FAILED


def serve(*, common: Common = NO_COMMON) -> int:
    """Run the schedules in this process: on the configured Prefect server, or on one of its own."""
    from flows.cli.serve import run_serve

    _, signalled = stop_on_signals()
    run_serve(common.env_file, signalled)
    return DONE


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="Of which.")], /
) -> int:
    """Print the script with which a shell completes commands and options."""
    print(app.generate_completion(shell=shell))
    return DONE


_COMMANDS: dict[Callable[..., int], str] = {
    demo: "halo-usm demo --live",
    check: "halo-usm check --env-file /etc/halo-usm.env",
    sync: "halo-usm sync --lookback 1440",
    extract: "halo-usm extract --since 2026-03-01 --until 2026-03-08",
    transform: "halo-usm transform --since 2026-03-01 --until 2026-03-08",
    load: "halo-usm load",
    replay: "halo-usm replay --since 2026-03-01 --until 2026-03-02 --only all --dry-run",
    maintain: "halo-usm maintain --dry-run",
    status: "halo-usm status --json",
    audit: "halo-usm audit --since 2026-03-01 --until 2026-04-01 --json",
    serve: "halo-usm serve --env-file /etc/halo-usm.env",
    export: "halo-usm export --since 2026-03-01 --format leef --output march.leef",
    import_connector: "halo-usm import-connector /opt/cloudpassage --write",
    completion: "halo-usm completion bash",
}
"""Every command, with the example that its help shows; a new one is added here."""

app = App(
    name="halo-usm",
    help="CloudPassage Halo security events to a USM Anywhere sensor, with proof of delivery.",
    help_epilogue="Settings: environment variables or a .env file, see the README.",
    version=_version,
    suppress_keyboard_interrupt=False,  # `exit_code` chooses the exit code
)
for _command, _example in _COMMANDS.items():
    app.command(_command, help_epilogue=f"Example: {_example}")


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; expected faults are one message on stderr."""
    return exit_code(
        lambda: app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    )
