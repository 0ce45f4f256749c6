"""The process that `tasks.transform.processes` starts: normalizes the raw files that it is sent.

It reads from its standard input and answers on its standard output, and opens nothing else. It ends
with its input, so it outlives the process that started it by no more than the file in hand.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys


def main() -> None:
    """Answer each `ConversionRequest` with what `convert_file` returns."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the process that started it ends in order
        signal.signal(number, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    sys.meta_path.insert(0, _WithoutPandas)
    from tasks.transform.conversion import convert_file

    try:
        while True:
            request = pickle.load(sys.stdin.buffer)  # noqa: S301 - of our own process
            pickle.dump(convert_file(request), answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()
    except (EOFError, pickle.UnpicklingError, BrokenPipeError):  # it is not needed any more
        os._exit(0)


class _WithoutPandas:
    """Hides pandas from pyarrow, which does without it and else imports it: half of the start."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> None:
        """Refuse pandas and nothing else; see `importlib.abc.MetaPathFinder`."""
        if name == "pandas":
            raise ModuleNotFoundError(name, name=name)


if __name__ == "__main__":
    main()
