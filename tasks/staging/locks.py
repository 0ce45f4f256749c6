"""One at a time: an account belongs to one extract or transform, a destination to one load.

In a folder the lock is `flock` on an empty file in `<staging>/.locks`. It guards and knows
nothing: the kernel frees a killed holder's. On object storage it is a lease: `tasks.staging.lease`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    from tasks.staging.store import Store

Kind = Literal["account", "destination"]


@contextmanager
def hold(
    store: Store,
    kind: Kind,
    name: str,
    *,
    run_id: str = "",
    stop: threading.Event | None = None,
) -> Iterator[None]:
    """Hold the lock of an account or a destination for the body.

    What a dead holder left half written is removed on the way in. Not re-entrant.

    Args:
        store: The staging.
        kind: What is locked.
        name: Which one.
        run_id: Told to others who want it.
        stop: Set where the lock is lost: the body is to end in order.

    Raises:
        InUseError: Another run holds it.
        StagingError: It cannot be taken, or was lost.
    """
    with store.backend.lock(f"{kind}={name}", wait=False, run_id=run_id, stop=stop):
        yield
