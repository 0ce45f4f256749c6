"""Runs a command: its pipeline, its signals, its exit code."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import CycloptsError

from flows.cli.open_files import allow_open_files
from flows.cli.output import discard, warn
from flows.cli.progress import ProgressDisplay, show
from flows.cli.startup import import_aiohttp
from flows.context import export_prefect_settings, prepare
from flows.runner import CutOff, ThreadRunner
from tasks.errors import HaloUsmError, SettingsError, explain
from tasks.redaction import foreign_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flows.pipeline import Pipeline

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
_OUTPUT_FAULTS = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""Errors of standard output when its reader has gone, or its disk is full or broken."""
_LONGEST = 500
"""The most characters of a message that repeats a command line."""


def exit_code(command: Callable[[], int | None], program: str = "halo-usm") -> int:
    """Run a command and return its exit code; an expected fault is one message on stderr."""
    try:
        code = command() or DONE
        sys.stdout.flush()
    except CycloptsError as error:
        called = " ".join((program, *(error.command_chain or ())))
        return _fail(USAGE, f"{foreign_text(error, _LONGEST)} See {called} --help.")
    except HaloUsmError as error:
        return _fail(USAGE if isinstance(error, SettingsError) else FAILED, *error.args)
    except (OSError, UnicodeError) as error:
        return _fail(FAILED, *_faults(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except CutOff as error:
        warn(f"halo-usm: {foreign_text(error, None)}")
        os._exit(INTERRUPTED)  # Python would wait for the threads
    return code


def _fail(code: int, *faults: str) -> int:
    for fault in faults:
        warn(f"halo-usm: {fault}")
    return code


def _faults(error: OSError | UnicodeError) -> list[str]:
    """The messages for an error that no other code has handled."""
    if isinstance(error, UnicodeError) or error.filename or error.errno not in _OUTPUT_FAULTS:
        return [explain(error)]
    discard(sys.stdout.fileno())
    if error.errno == errno.EPIPE:
        return []  # its reader has ended, as `head` does
    return [f"the output cannot be written: {error.strerror}; make room, or write it elsewhere"]


def run_pipeline(
    pipeline: Pipeline,
    env_file: Path | None,
    flags: dict[str, Any] | None = None,
    *,
    accounts: bool = False,
    sensors: bool | None = False,
    writes: bool = True,
    destination: str | None = None,
    flow: Literal["sync", "replay", "maintain"] | None = None,
    prefect: bool = False,
    parameters: dict[str, Any] | None = None,
) -> int:
    """Run a pipeline in this process, or as a flow run where Prefect is configured or asked for.

    `flow` and `parameters` are those of the flow with the same pipeline; for the other arguments
    see `flows.context.prepare`. Returns the exit code.
    """
    from tasks.settings import prefect_api_url

    if accounts:
        import_aiohttp()
    stop, signalled = stop_on_signals()
    with ProgressDisplay() as progress:
        context = prepare(
            env_file,
            flags,
            accounts=accounts,
            sensors=sensors,
            writes=writes,
            destination=destination,
            stop=stop,
            progress=progress,
        )
        export_prefect_settings(context.settings)
        allow_open_files(context)
        if sensors:
            for one in context.destinations:
                one.check_files()
        warnings: list[str] = []
        if flow and (prefect or prefect_api_url()):
            from flows.cli.prefect_run import run_as_flow

            results, warnings = run_as_flow(flow, parameters or {}, pipeline, context)
        else:
            results = pipeline(context, ThreadRunner(signalled))
    show(results, warnings)
    if signalled.is_set():
        return INTERRUPTED
    if any(result.problems for result in results):
        return FAILED
    return INTERRUPTED if any(result.interrupted for result in results) else DONE


def stop_on_signals() -> tuple[threading.Event, threading.Event]:
    """Two events that the first SIGINT or SIGTERM sets; a second signal ends the process at once.

    A lost lease sets the first event, too, and not the second.
    """
    stop, signalled = threading.Event(), threading.Event()

    def on_signal(number: int, _frame: object) -> None:
        if signalled.is_set():
            os._exit(INTERRUPTED)  # each file is complete or absent: nothing is lost
        signalled.set()
        stop.set()
        warn(f"{signal.Signals(number).name}: ending in order; once more to end at once")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    return stop, signalled
