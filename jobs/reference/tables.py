"""Tables in Markdown, of what the code declares beside settings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shardsift.cli import exit_codes
from shardsift.errors import ErrorCode
from shardsift.outputs.sealed_table import MEANINGS, SCHEMA
from shardsift.runs.metrics import METRICS

_TYPES = {"dictionary<values=string, indices=int32, ordered=0>": "dictionary of string"}
"""How types are called for which Arrow's own name is no help."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Make a table in Markdown; bars inside of cells are escaped."""
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def of_columns() -> str:
    """Describe the columns of annotations."""
    types = {field.name: (str(field.type), field.nullable) for field in SCHEMA}
    rows: list[list[str]] = []
    for name, meaning in MEANINGS.items():
        kind, may_be_null = types.get(name, ("float", True))
        rows.append([f"`{name}`", _TYPES.get(kind, kind), "yes" if may_be_null else "", meaning])
    return table(["column", "type", "null", "means"], rows)


def of_error_codes() -> str:
    """Describe why a sample may have no score."""
    return table(["error", "the image"], [[f"`{code}`", code.meaning] for code in ErrorCode])


def of_exit_codes() -> str:
    """Describe what a command's exit code says."""
    rows = [[str(code), meaning] for code, meaning in exit_codes.MEANINGS.items()]
    return table(["exit code", "means"], rows)


def of_metrics() -> str:
    """Describe what actors tell Prometheus."""
    rows = [[f"`{metric.exported}`", metric.description] for metric in METRICS]
    return table(["metric", "counts"], rows)
