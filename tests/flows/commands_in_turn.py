"""Runs several commands in one process, as the command line would: Python's start-up costs most.

python -m tests.flows.commands_in_turn COMMANDS. The argument is a JSON list of argument lists,
standard output the exit code and the output of each, as JSON.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback

from flows.cli.app import run


def main() -> None:
    """Run the commands."""
    answers = []
    for arguments in json.loads(sys.argv[1]):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = run(arguments)
            except Exception:  # noqa: BLE001 - shown, and looked for
                code = -1
                traceback.print_exc()
        answers.append({"code": code, "out": out.getvalue(), "err": err.getvalue()})
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
