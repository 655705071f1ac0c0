"""Run the notebooks of the documentation, and save their output: `python -m jobs.notebook`."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any, cast

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "tutorials").glob("*.ipynb"))

_CELL_SECONDS = 300


def execute(path: Path, folder: Path) -> Any:
    """Run all cells of a notebook in a folder; return the notebook with its outputs.

    Raises:
        CellExecutionError: if a cell raises.
    """
    notebook = cast(Any, nbformat.read(path, as_version=4))
    # A cell that begins with `!` finds the commands of this Python.
    search_path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=_CELL_SECONDS, resources=resources)
    plain = {"COLUMNS": "80", "TERM": "dumb", "PYTHONWARNINGS": "ignore"}
    client.execute(env=os.environ | {"PATH": search_path} | plain)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times, which differ from run to run
    return notebook


def main() -> None:
    """Write the outputs into the notebooks."""
    for path in NOTEBOOKS:
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(execute(path, Path(folder)), path)


if __name__ == "__main__":
    main()
