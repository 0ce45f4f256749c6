"""`make bench`: prints each target beside its figure; exit code 1 below one.

`python -m tests.bench extract render` measures only these parts.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.bench import Measured

PARTS = (
    "extract",
    "pipeline",
    "normalize",
    "transform",
    "render",
    "delivery",
    "encoding",
    "load",
    "whole_load",
    "far_receiver",
    "growth",
    "relays",
    "flow_runs",
)


def main(parts: list[str]) -> int:
    """Measure the parts and print a line for each figure as it comes."""
    missed = 0
    print(f"{'':6}{'figure':>14}  {'target':>16}  {'unit':<20} what")
    for part in parts or PARTS:
        measured: Measured
        for measured in importlib.import_module(f"tests.bench.{part}").measure():
            missed += not measured.reached
            bound = "at most" if measured.at_most else "at least"
            target = "" if measured.target is None else f"{bound} {measured.target:,.5g}"
            mark = "" if measured.target is None else "ok" if measured.reached else "MISSED"
            print(
                f"{mark:6}{measured.figure:>14,.5g}  {target:>16}  {measured.unit:<20} "
                f"{part}: {measured.name}" + (f" ({measured.note})" if measured.note else ""),
                flush=True,
            )
    print(f"{missed} targets missed" if missed else "every target reached")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
