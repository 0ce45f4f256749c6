"""Child processes that end with their parent, even if the parent is killed.

The child runs a Python module as `python -m` does. Its standard input is a pipe from the parent.
The system closes the pipe when the parent ends, also by SIGKILL, and the child then ends its
process group.
"""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_GRACE_SECONDS = 10.0
"""How long a child may take to end in order."""


@contextmanager
def child(
    module: str, *arguments: str, environment: dict[str, str], output: Any = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a module in a process that ends with the context and with this process.

    It leads its own session, so Ctrl-C at a terminal reaches only this process, which then ends
    the child.

    Args:
        module: What `python -m` would run.
        arguments: Its arguments.
        environment: Its environment variables.
        output: A file for its standard output and error; by default those of this process.
    """
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", "flows.cli.child_process", module, *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        try:
            process.wait(2 * _GRACE_SECONDS)
        except subprocess.TimeoutExpired:  # it was suspended by SIGSTOP
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _end_with_standard_input() -> None:
    while os.read(0, 1024):
        pass
    os.killpg(os.getpgrp(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
