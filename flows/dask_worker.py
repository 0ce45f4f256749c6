"""A step on a Dask worker: how its run is prepared there, and what ends it early.

A worker gets how to prepare the run, and prepares it from its own settings, keys and blocks: no
secret travels. What must not differ between machines is compared.
"""

from __future__ import annotations

import hashlib
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tasks.errors import SettingsError
from tasks.redaction import foreign_text, redact_address
from tasks.settings import Sensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from flows.context import RunContext

_OWN = {"halo_auth_file", "halo_task_runner", "halo_dask_address"}
"""The settings that each machine may have another value of."""
_CHECK_SECONDS = 0.2
_RUNS_KEPT = 8
_PREPARED: dict[str, RunContext] = {}
_PREPARING = threading.Lock()
_ENDED: set[str] = set()


@dataclass(frozen=True)
class RunElsewhere:
    """How to prepare a run on another machine.

    Attributes:
        run_id: The run's id.
        prepare_again: Prepares it.
        expected: What has to be the same there, by name; keys and secrets are not in it.
    """

    run_id: str
    prepare_again: Callable[[], RunContext]
    expected: Mapping[str, str]

    @classmethod
    def of(cls, context: RunContext) -> RunElsewhere:
        """How to prepare a run that is prepared here."""
        return cls(context.run_id, context.prepare_again, _compared(context))

    def prepared(self) -> RunContext:
        """The run, as this machine's settings have it, with a stop event of its own.

        A process prepares a run once, for all its steps.

        Raises:
            HaloUsmError: It cannot be prepared here, or settings differ from those of the flow run.
        """
        with _PREPARING:
            context = _PREPARED.get(self.run_id)
            if context is None:
                context = self._prepare()
                _PREPARED[self.run_id] = context
                for oldest in list(_PREPARED)[:-_RUNS_KEPT]:
                    del _PREPARED[oldest]
        return replace(context, stop=threading.Event())

    def _prepare(self) -> RunContext:
        try:
            context = self.prepare_again()
        except SettingsError as error:
            raise SettingsError(f"on {_this_machine()}: {error}") from None
        here = _compared(context)
        for name, value in self.expected.items():
            if here[name] != value:
                raise SettingsError(
                    f"on {_this_machine()} {name} is '{foreign_text(here[name])}', and "
                    f"'{foreign_text(value)}' where the flow run is; give each Dask worker the "
                    "settings of the flow run"
                )
        return context


def _this_machine() -> str:
    return f"the Dask worker {foreign_text(socket.gethostname())}"


def _compared(context: RunContext) -> dict[str, str]:
    settings = context.settings
    accounts = "\n".join(account.name for account in context.accounts)
    return {
        name.upper(): _text(name, getattr(settings, name))
        for name in type(settings).model_fields
        if name not in _OWN
    } | {"the accounts": hashlib.sha256(accounts.encode()).hexdigest()[:8]}


def _text(name: str, value: object) -> str:
    if isinstance(value, Sensors):
        return value.text
    return redact_address(str(value)) if name == "halo_staging" else str(value)


def end_run(run_id: str) -> None:
    """End the steps of a run in order, those that this process runs and those still to come."""
    _ENDED.add(run_id)


@contextmanager
def ended_with_worker(context: RunContext) -> Iterator[None]:
    """Set the context's stop event once the flow run or this Dask worker is to end.

    Dask itself would let a step of a worker that ends run on until the process is gone.
    """
    from distributed import get_worker
    from distributed.core import Status

    worker, done = get_worker(), threading.Event()

    def watch() -> None:
        while not done.wait(_CHECK_SECONDS):
            ending = worker.status not in {Status.running, Status.paused}
            if ending or context.run_id in _ENDED:
                context.stop.set()
                return

    thread = threading.Thread(target=watch, name="end of step", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
