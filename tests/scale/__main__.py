"""What accounts and events take; see `tests.scale.model`."""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import asdict
from datetime import UTC, datetime

from tests.scale.model import CONSTANTS, Constants, scale_table

if __name__ == "__main__":
    if sys.argv[1:] == ["--measure"]:
        from tests.scale.measure import import_pyarrow, measured

        said = {
            "measured": f"{datetime.now(UTC):%Y-%m-%d}",
            "machine": f"{platform.machine()}, Python {platform.python_version()}",
            "import_pyarrow": round(import_pyarrow(), 3),
            "constants": {name: float(f"{x:.3g}") for name, x in asdict(measured()).items()},
        }
        CONSTANTS.write_text(json.dumps(said, indent=2) + "\n", "utf-8")
    print(CONSTANTS.read_text("utf-8"), scale_table(Constants.recorded()), sep="\n")
