"""Markdown tables of declarations in the code, other than settings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shardsift.cli.console import MEANINGS
from shardsift.columns import Column, with_further
from shardsift.engine.metrics import METRICS
from shardsift.errors import ErrorCode
from shardsift.measures import AttributesMeasure, clip_columns
from shardsift.outputs.sealed_table import arrow_schema

_TYPES = {"dictionary<values=string, indices=int32, ordered=0>": "dictionary of string"}
"""Names of types whose Arrow name is no help."""

_ATTRIBUTE = "answer to `--attribute`, 0 to 1, mean over the crops"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Make a table in Markdown; bars inside of cells are escaped."""
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def of_columns() -> str:
    """Describe the columns of annotations."""
    (attribute,) = AttributesMeasure({"NAME": (("", ""),)}, "").columns
    asked = attribute.model_copy(update={"meaning": _ATTRIBUTE})
    declared = with_further([asked, *clip_columns("clip", "the model of `--clip`")])
    rows = [
        [f"`{column.name}`", _TYPES.get(str(field.type), str(field.type)), *_more(column)]
        for column, field in zip(declared, arrow_schema(declared), strict=True)
    ]
    return table(["column", "type", "null", "means"], rows)


def _more(column: Column) -> Sequence[str]:
    return ["" if column.is_required else "yes", column.meaning]


def of_error_codes() -> str:
    """Describe why a sample may have no score."""
    return table(["error", "the image"], [[f"`{code}`", code.meaning] for code in ErrorCode])


def of_exit_codes() -> str:
    """Describe the exit codes of commands."""
    rows = [[str(code), meaning] for code, meaning in MEANINGS.items()]
    return table(["exit code", "means"], rows)


def of_metrics() -> str:
    """Describe what actors tell Prometheus."""
    rows = [[f"`{metric.exported}`", metric.description] for metric in METRICS]
    return table(["metric", "counts"], rows)
