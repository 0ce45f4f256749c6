"""The leases of a staging, as another process has them."""

from __future__ import annotations

from pyarrow import fs

from tasks.staging.conditional_objects import ConditionalObjects
from tasks.staging.lease import Leases


def leases(staging: str, seconds: float = 120) -> Leases:
    """The leases of a staging, as another process has them."""
    filesystem, root = fs.FileSystem.from_uri(staging)
    return Leases(ConditionalObjects(filesystem, root), seconds)
