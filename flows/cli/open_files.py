"""Makes sure before a run that it may open as many files at once as it needs."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from flows.runner import THREADS
from tasks.errors import SettingsError

if TYPE_CHECKING:
    from flows.context import RunContext

_BASE = 64
"""Modules that are being imported, the output, and connections to object storage."""
_STEP = 8
"""Staged files, locks and the event loop of a step, without its connections to the Halo API."""


def allow_open_files(context: RunContext) -> None:
    """Raise the limit of open files of this process to what a run may need.

    Without this, a run that reaches the limit would fail at an arbitrary place.

    Raises:
        SettingsError: The system does not allow so many.
    """
    at_once = min(len(context.accounts), THREADS)
    needed = _BASE + at_once * (context.settings.halo_concurrency + _STEP)
    needed += min(len(context.destinations), THREADS) * _STEP
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SettingsError(
            f"this run may need {needed} open files at once, and the system allows {hard}: raise "
            "the limit (ulimit -n 1024), or lower HALO_CONCURRENCY"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
