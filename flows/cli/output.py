"""Prints lines without characters that would act on a terminal."""

from __future__ import annotations

import os
import sys

from tasks.redaction import foreign_text


def say(line: str) -> None:
    """Print a line to standard output."""
    print(foreign_text(line, None))


def warn(line: str) -> None:
    """Print a line to standard error; where that cannot be written, only the exit code is left."""
    try:
        # in one write: several threads print, and print would write the line's end separately
        print(f"{foreign_text(line, None)}\n", end="", file=sys.stderr, flush=True)
    except OSError:
        discard(sys.stderr.fileno())


def discard(stream: int) -> None:
    """Discard what is written to an output stream; Python itself writes at exit, too."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream)
    os.close(nowhere)
