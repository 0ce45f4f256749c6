"""One at a time: an account belongs to one extract or transform, a destination to one load.

In a folder the lock is `flock` on an empty file in `<staging>/.locks`. It guards and knows
nothing: the kernel frees a killed holder's. On object storage it is a lease:
`tasks.staging.storage.lease`.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Literal

from tasks.errors import InUseError, StagingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.staging.store import Store

Kind = Literal["account", "destination"]

_LOG = logging.getLogger(__name__)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0


@contextmanager
def hold(
    store: Store,
    kind: Kind,
    name: str,
    *,
    run_id: str = "",
    wait: float = 0.0,
    leave: bool = False,
    stop: threading.Event | None = None,
) -> Iterator[None]:
    """Hold the lock of an account or a destination for the body.

    What a dead holder left half written is removed on the way in. Not re-entrant.

    Args:
        store: The staging.
        kind: What is locked.
        name: Which account or destination.
        run_id: Shown to other runs that want the lock.
        wait: Seconds to wait for another run that holds it.
        leave: Whether it is left to a run that held it for all of `wait`.
        stop: Ends the waiting once it is set. Is set itself where the lock is lost: the body is
            to end in order.

    Raises:
        InUseError: Another run holds it; with `wait`, the waiting was ended by `stop`, or by
            time and `leave` is on.
        StagingError: It cannot be taken, or was lost, or another run held it for all of `wait`.
    """
    stop = stop or threading.Event()
    until = time.monotonic() + wait
    pause = _FIRST_PAUSE
    warned = False
    with ExitStack() as stack:
        while True:
            try:
                lock = store.backend.lock(f"{kind}={name}", wait=False, run_id=run_id, stop=stop)
                stack.enter_context(lock)
                break
            except InUseError as held:
                left = until - time.monotonic()
                if not wait or stop.is_set() or (leave and left <= 0):
                    raise InUseError(f"{held}, and is left to it", held.run) from held
                if left <= 0:
                    raise StagingError(
                        f"{held}, and was for the {wait / 60:g} minutes that this one waited; run "
                        "the command again when that one is done, or with a longer --wait"
                    ) from held
                if not warned:
                    _LOG.warning("waiting: %s", held)
                    warned = True
            stop.wait(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)
        yield
