"""`halo-usm check`: what is usable and what is not, line by line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from flows.checks import findings
from flows.cli.output import say, warn

if TYPE_CHECKING:
    from tasks.settings import Settings


def run_check(settings: Settings) -> bool:
    """Print a line for each thing that a sync needs, as soon as it was looked at.

    Returns:
        Whether all of it is usable.
    """
    faulty: list[str] = []
    for finding in findings(settings):
        say(str(finding))
        sys.stdout.flush()
        if not finding.usable:
            faulty.append(finding.what)
    if faulty:
        warn(f"error: not usable: {', '.join(faulty)}")
    return not faulty
