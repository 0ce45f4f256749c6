"""Runs the notebooks in `data/notebooks` and keeps what they show: `python -m tests.notebooks`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nbformat
from nbclient import NotebookClient

from tests.documents import ROOT

if TYPE_CHECKING:
    from pathlib import Path

NOTEBOOKS = sorted((ROOT / "data" / "notebooks").glob("*.ipynb"))
_SECONDS = 300


def run(file: Path) -> nbformat.NotebookNode:
    """A notebook with what its cells show now; they run in its folder.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell failed.
    """
    notebook = nbformat.read(file, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=_SECONDS,
        record_timing=False,
        resources={"metadata": {"path": str(file.parent)}},
    )
    client.execute()
    return notebook


if __name__ == "__main__":
    for file in NOTEBOOKS:
        nbformat.write(run(file), file)
