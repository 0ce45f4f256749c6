"""How a command is carried out: its pipeline, its signals, its exit code."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import CycloptsError

from flows.report import ProgressDisplay, show
from flows.runner import CutOff, ThreadRunner
from flows.startup import import_aiohttp
from flows.work import prepare
from tasks.accounts import open_to_others
from tasks.errors import HaloUsmError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from flows.runner import Runner, StageResult
    from flows.work import Work
    from tasks.settings import Settings

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
_OUTPUT_FAULTS = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""What standard output answers where its reader has gone, or its disk is full or broken."""


def exit_code(command: Callable[[], int | None]) -> int:
    """Run a command and return its exit code; an expected fault is one message on stderr."""
    try:
        return command() or DONE
    except CycloptsError:
        return USAGE  # the message was printed where it arose
    except SettingsError as error:
        return _say(error, USAGE)
    except HaloUsmError as error:
        return _say(error, FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED
    except CutOff as error:
        print(f"halo-usm: {error}", file=sys.stderr, flush=True)
        os._exit(INTERRUPTED)  # Python would wait for the threads
    except OSError as error:
        if error.filename is not None or error.errno not in _OUTPUT_FAULTS:
            raise
        # Python must not complain of it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno != errno.EPIPE:  # its reader has seen enough
            print(f"halo-usm: the output cannot be written: {error.strerror}", file=sys.stderr)
        return FAILED


def _say(error: HaloUsmError, code: int) -> int:
    print(f"halo-usm: {error}", file=sys.stderr)
    return code


def run_pipeline(
    settings: Settings,
    pipeline: Callable[[Work, Runner], list[StageResult]],
    *,
    accounts: bool = False,
    sensors: bool = False,
    destination: str | None = None,
    flow: Literal["sync", "replay"] | None = None,
    prefect: bool = False,
    parameters: dict[str, Any] | None = None,
) -> int:
    """Run a pipeline in this process, or as a flow run where Prefect is configured or asked for."""
    from tasks.settings import prefect_api_url

    if accounts:
        import_aiohttp()
    stop, signalled = _stop_on_signals()
    with ProgressDisplay() as progress:
        work = prepare(
            settings,
            accounts=accounts,
            sensors=sensors,
            writes=True,
            destination=destination,
            stop=stop,
            progress=progress,
        )
        if accounts and (note := open_to_others(settings.halo_auth_file)):
            print(f"note: {note}", file=sys.stderr)
        if sensors:
            from tasks.syslog.transport import check_files

            for one in work.destinations:
                check_files(one)
        warnings: list[str] = []
        if flow and (prefect or prefect_api_url()):
            from flows.as_flow import run_as_flow

            outcome = run_as_flow(flow, parameters or {}, stop, progress)
            results, warnings = outcome.results, outcome.warnings
        else:
            results = pipeline(work, ThreadRunner(signalled))
    show(results, warnings)
    if signalled.is_set():
        return INTERRUPTED
    if any(result.problems for result in results):
        return FAILED
    return INTERRUPTED if any(result.interrupted for result in results) else DONE


def _stop_on_signals() -> tuple[threading.Event, threading.Event]:
    """Two events that the first SIGINT or SIGTERM sets; the second one ends the process at once.

    A lost lease sets the first of them, too.
    """
    stop, signalled = threading.Event(), threading.Event()

    def on_signal(number: int, _frame: object) -> None:
        if signalled.is_set():
            os._exit(INTERRUPTED)  # every file is complete or absent: there is nothing to save
        signalled.set()
        stop.set()
        print(
            f"{signal.Signals(number).name}: ending in order; once more to end at once",
            file=sys.stderr,
        )

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    return stop, signalled
