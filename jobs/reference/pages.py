"""Pages of the documentation that hold something made from the code."""

from __future__ import annotations

import re
from pathlib import Path

from jobs.reference import settings, tables

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))

MAKERS = {
    "verbs": settings.of_verbs,
    "common flags": settings.of_common,
    "columns": tables.of_columns,
    "error codes": tables.of_error_codes,
    "exit codes": tables.of_exit_codes,
    "metrics": tables.of_metrics,
}
"""Generated parts of pages, by the name in their marks."""

_MADE = re.compile(r"<!-- made: (.+?) -->\n.*?<!-- end -->", re.DOTALL)


def filled(page: str) -> str:
    """Write generated text between the marks of a page."""
    return _MADE.sub(_make, page)


def made_in(page: str) -> list[str]:
    """Return the names of the generated parts of a page."""
    return _MADE.findall(page)


def _make(found: re.Match[str]) -> str:
    name = found[1]
    return f"<!-- made: {name} -->\n\n{MAKERS[name]()}\n\n<!-- end -->"
