"""Lines that a command prints. No character in them acts on a terminal, whoever wrote it."""

from __future__ import annotations

import os
import sys

from tasks.redaction import foreign_text


def say(line: str) -> None:
    """Print a line to standard output."""
    print(foreign_text(line, None))


def warn(line: str) -> None:
    """Print a line to standard error; where it cannot be written, the exit code has to do."""
    try:
        # in one piece, for steps are threads and print would write the line's end apart
        print(f"{foreign_text(line, None)}\n", end="", file=sys.stderr, flush=True)
    except OSError:
        discard(sys.stderr.fileno())


def discard(stream: int) -> None:
    """Let what is written to an output stream go nowhere; Python itself writes at exit, too."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream)
    os.close(nowhere)
