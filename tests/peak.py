"""Runs `halo-usm`, perhaps with other limits, and tells the peak of its memory.

A program of its own: what the kernel tells of a child's peak (`ru_maxrss`) counts what its parent
had in memory when it was started.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from flows.__main__ import main
from flows.cli import startup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.flows.command import Command

_LIMITS = "TESTS_PEAK_LIMITS"


def peak_of(
    command: Command, *arguments: str, code: int = 0, limits: Mapping[str, int] | None = None
) -> int:
    """Run a command that is to exit with `code`; the bytes of memory it had at most.

    Args:
        command: Where, and with which settings.
        arguments: Of `halo-usm`.
        code: Its exit code.
        limits: Other values for constants, by `module:name`.
    """
    process = subprocess.run(
        [sys.executable, "-m", "tests.peak", *arguments],
        cwd=command.folder,
        env=command.environment | {_LIMITS: json.dumps(dict(limits or {}))},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == code, f"{process.returncode}\n{process.stdout}\n{process.stderr}"
    peak = re.search(r"^peak (\d+)$", process.stderr, re.MULTILINE)
    assert peak, process.stderr
    return int(peak[1])


def _peak() -> int:
    """The bytes of memory that this process had at most."""
    status = Path("/proc/self/status").read_text("ascii")
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found
    return int(found[1]) * 1024


if __name__ == "__main__":
    for place, value in json.loads(os.environ[_LIMITS]).items():
        module, _, name = place.partition(":")
        assert isinstance(getattr(import_module(module), name), int)
        setattr(import_module(module), name, value)
    # a command leaves by os._exit, which would skip what follows
    startup.end_at_once = sys.exit  # type: ignore[assignment]
    try:
        main()
    finally:
        print(f"peak {_peak()}", file=sys.stderr)
