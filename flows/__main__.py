"""The console script `halo-usm`, the same as `python -m flows`."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading

_INTERRUPTED = 130
_LEAVE_SECONDS = 10.0
"""How long Prefect's client may take to send its last reports."""


def main() -> None:
    """Run the command line and exit with its code."""
    # Where a caller has closed a stream, Python has none, and the next file or connection that is
    # opened would get the stream's number.
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # some locales lack characters
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(_INTERRUPTED))  # until a command takes over
    try:
        from flows.cli.startup import start_lightly

        start_lightly()
        from flows.cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = _INTERRUPTED  # while modules were being loaded
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the command has ended: its code stays
    if "prefect" in sys.modules:  # its client may wait endlessly for a dead server
        leave = threading.Timer(_LEAVE_SECONDS, os._exit, [code])
        leave.daemon = True
        leave.start()
    from flows.cli.startup import end_at_once

    end_at_once(code)


if __name__ == "__main__":
    main()
