"""The console script `halo-usm`, the same as `python -m flows`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    from flows.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
