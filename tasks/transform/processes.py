"""Normalizes raw files in several processes where there is enough to do.

Threads of one process do not help: Python lets one of them run at a time. So each of a few threads
has a process, to which it sends the bytes of a raw file, and which answers with those of the
normalized one. The processes neither read nor write the staging: whoever holds the account
publishes. What they do not answer is normalized here, so one that is killed costs its time alone.

All accounts that a process transforms at the same time share these threads.
"""

from __future__ import annotations

import logging
import os
import pickle
import sys
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tasks.transform.conversion import ConversionRequest, ConvertedFile

_LOG = logging.getLogger(__name__)
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

ENOUGH_ROWS = 100_000
"""Of all accounts under way: below, the start of the processes costs more than they save."""
_MOST = 8
"""Processes: their memory adds up, and Linux lets a user have 64 MiB of pipes."""
_PIPE_BYTES = 2**20
"""Linux's limit of one. Each time a pipe is full, the two processes take turns."""
_AHEAD = 16
"""Items of an account that are given out at the same time."""


class Mapping(Protocol):
    """Calls a function with each item and yields the results in order, as `map` does."""

    def __call__(
        self, function: Callable[[_Item], _Result], items: Iterable[_Item], /
    ) -> Iterator[_Result]:
        """See above."""


@contextmanager
def mapping(files: int, rows: int) -> Iterator[Mapping]:
    """How the files of an account are to be worked on: one by one, or several at a time.

    At the end of the body no call runs any more.

    Args:
        files: How many files.
        rows: How many raw events they have.
    """
    with _SHARED.threads(files, rows) as threads:
        if threads is None:
            yield map
            return
        given: deque[Future[Any]] = deque()

        def in_threads(
            function: Callable[[_Item], _Result], items: Iterable[_Item], /
        ) -> Iterator[_Result]:
            left = iter(items)
            given.extend(threads.submit(function, item) for item in islice(left, _AHEAD))
            while given:
                yield given[0].result()
                given.popleft()
                given.extend(threads.submit(function, item) for item in islice(left, 1))

        try:
            yield in_threads
        finally:
            for future in given:
                future.cancel()
            wait(given)


def has_process() -> bool:
    """Whether this thread has a process."""
    return getattr(_OF_THREAD, "process", None) is not None


def convert(request: ConversionRequest, warnings: list[str]) -> ConvertedFile | None:
    """What a raw file becomes, by the process of this thread; None where it cannot say.

    Args:
        request: The file.
        warnings: Told of a process that ended too soon.
    """
    process: _Process = _OF_THREAD.process
    try:
        return process.convert(request)
    except (OSError, EOFError, pickle.UnpicklingError):
        _OF_THREAD.process = None
        warnings.append(
            f"a process that normalized events ended too soon ({process.how_it_ended()}); this "
            "one went on without it"
        )
        return None


class _Process:
    """A process that runs `tasks.transform.normalizer`."""

    def __init__(self) -> None:
        import subprocess

        self._process = subprocess.Popen(
            [sys.executable, "-m", "tasks.transform.normalizer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pipesize=_PIPE_BYTES,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    def convert(self, request: ConversionRequest) -> ConvertedFile | None:
        """Have a raw file normalized.

        Raises:
            OSError, EOFError, pickle.UnpicklingError: The process ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump(request, self._process.stdin, pickle.HIGHEST_PROTOCOL)
        self._process.stdin.flush()
        answer: ConvertedFile | None = pickle.load(self._process.stdout)  # noqa: S301 - our own process
        return answer

    def how_it_ended(self) -> str:
        """Its exit code, or the signal that killed it."""
        self.end()
        code = self._process.returncode
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def end(self) -> None:
        """End it; it holds nothing."""
        self._process.kill()
        with suppress(BrokenPipeError):  # it has not read all that it was sent
            self._process.communicate()


class _Threads:
    """The threads that all accounts under way share, and their processes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._files = 0
        self._rows = 0
        self._threads: ThreadPoolExecutor | None = None
        self._processes: list[_Process] = []

    @contextmanager
    def threads(self, files: int, rows: int) -> Iterator[ThreadPoolExecutor | None]:
        """The threads, for an account of so much work; None where it is to do without."""
        with self._lock:
            self._users += 1
            self._files += files
            self._rows += rows
            enough = self._files > 1 and self._rows >= ENOUGH_ROWS
            if self._threads is None and enough and (count := _room()) > 1:
                self._threads = ThreadPoolExecutor(count, "normalize", self._start_process)
            threads = self._threads
        try:
            yield threads
        finally:
            with self._lock:
                self._users -= 1
                self._files -= files
                self._rows -= rows
                if not self._users:
                    self._end()

    def _start_process(self) -> None:
        try:
            _OF_THREAD.process = _Process()
        except OSError as fault:
            _LOG.debug("no process can be started, this one normalizes alone: %s", fault)
        else:
            self._processes.append(_OF_THREAD.process)

    def _end(self) -> None:
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None
        while self._processes:
            self._processes.pop().end()


def _room() -> int:
    """How many processes may be started: one a processor, up to `_MOST`."""
    from multiprocessing import current_process

    if current_process().daemon:  # a Dask worker, one of several that share the processors
        return 1
    if sys.platform == "linux":
        return min(len(os.sched_getaffinity(0)), _MOST)
    return min(os.cpu_count() or 1, _MOST)


_SHARED = _Threads()
_OF_THREAD = threading.local()
