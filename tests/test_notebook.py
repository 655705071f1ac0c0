"""The notebook of the documentation runs, and shows what it promises to show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

from jobs.notebook import NOTEBOOK, execute


def kinds(notebook: Any) -> list[set[str]]:
    """The kinds of output of each cell of code."""
    return [
        {kind for output in cell.outputs for kind in output.get("data", {output.output_type: 0})}
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def test_it_runs_and_shows_what_stands_in_it(tmp_path: Path) -> None:
    for needed in ("matplotlib", "skimage"):
        pytest.importorskip(needed)
    done = execute(tmp_path)
    assert kinds(done) == kinds(nbformat.read(NOTEBOOK, as_version=4))
    shown = set[str]().union(*kinds(done))
    assert {"text/html", "image/png", "stream"} <= shown
    (kept,) = [cell for cell in done.cells if cell.source == 'kept = keep("kept")\nkept']
    assert kept.outputs[0].data["text/plain"].endswith("12 of 24 samples, in 2 shards)")
