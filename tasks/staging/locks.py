"""One at a time: an account belongs to one extract or transform, a destination to one load.

The lock is `flock` on an empty file in `<staging>/.locks`. It guards and knows nothing: the
kernel frees a killed holder's. Object storage keeps no locks: there it holds within this process,
and among all flow runs of a Prefect server by a guard of the store (`flows.server_locks`).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.staging.store import Store

Kind = Literal["account", "destination"]


@contextmanager
def hold(store: Store, kind: Kind, name: str) -> Iterator[None]:
    """Hold the lock of an account or a destination for the body.

    What a dead holder left half written is removed on the way in. Not re-entrant.

    Raises:
        InUseError: Another run holds it.
    """
    with store.backend.lock(f"{kind}={name}", wait=False):
        yield
