"""How many files a run may have open at once: what it needs is made sure of before it begins."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from flows.runner import THREADS
from tasks.errors import SettingsError

if TYPE_CHECKING:
    from flows.context import RunContext

_BASE = 64
"""Modules that are being loaded, the output, and what object storage keeps connected."""
_STEP = 8
"""Staged files, locks and the event loop of a step, beside its connections to the Halo API."""


def allow_open_files(context: RunContext) -> None:
    """Raise this process's own limit to what a run may need, as far as the system lets it.

    A run that meets the limit half-way fails wherever it happens to be.

    Raises:
        SettingsError: The system does not let it.
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
