"""The answers of one shard: the core loop of `ask`, from embeddings to a row for every row.

Shapes in names: N rows, D values of an embedding, C columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shardsift.errors import AnnotationError, ErrorCode, OutputError, ShardError
from shardsift.measures import MACLIP, Contents, Measure
from shardsift.outputs.annotation_encoder import AnnotationEncoder
from shardsift.outputs.embeddings import embeddings_name, read_embeddings
from shardsift.outputs.sealed_table import AnnotationFiles, Footer, schema_of, shard_column
from shardsift.progress import Meter, ShardMeter
from shardsift.records import ShardReport, ShardTask
from shardsift.redaction import reason
from shardsift.storage.files import commit, join
from shardsift.storage.lease import Lease
from shardsift.storage.local import no_guard


@dataclass(frozen=True, kw_only=True, slots=True)
class AskInputs:
    """Inputs that all shards of a run share.

    Attributes:
        annotations: files with the embeddings.
        measures: the questions; each has a tower as its source.
        contents: contents of the answers.
        output: folder of the answers.
    """

    annotations: AnnotationFiles
    measures: Sequence[Measure]
    contents: Contents
    output: str
    lease: Lease | None = None


def answer_shard(inputs: AskInputs, task: ShardTask, meter: Meter | None = None) -> ShardReport:
    """Ask a shard's embeddings, which a meter counts, and commit the answers.

    Raises:
        ShardError: if they can't be read or aren't those of its annotation, or the answers can't
            be written.
    """
    tower = MACLIP
    found: dict[str, NDArray[Any]] = {}
    try:
        footer = inputs.annotations.footer(task.annotation)
        with (meter or Meter()).shard(task.shard, footer.report.rows) as own:
            for tower in inputs.contents.sources:
                is_first = tower == inputs.contents.sources[0]
                found |= _ask(footer, task, tower, inputs, own if is_first else None)
    except (AnnotationError, ValueError) as error:
        raise ShardError(task.shard, f"its embeddings can't be used: {error}") from error
    except OSError as error:
        problem = f"{embeddings_name(task.annotation, tower)} can't be read: {reason(error)}"
        raise ShardError(task.shard, f"{problem}; see `shardsift verify`") from error
    encoder = AnnotationEncoder(
        footer.shard,
        inputs.contents,
        rows_digest=footer.rows_digest,
        sources={tower: footer.embeddings[tower].sha256 for tower in inputs.contents.sources},
    )
    rows = footer.report.rows
    answers = (found[column.name] for column in inputs.contents.further)
    columns = [pa.array(answer_N, mask=np.isnan(answer_N)) for answer_N in answers]
    index = pa.array(np.arange(rows, dtype=np.int32))
    table = pa.Table.from_arrays(
        [shard_column(task.shard, rows), index, *columns], schema=schema_of(inputs.contents)
    )
    encoder.add_table(table)
    encoded = encoder.finish()
    try:
        guard = inputs.lease.guard if inputs.lease else no_guard
        commit(join(inputs.output, task.annotation), encoded.annotation, guard)
    except (OSError, OutputError) as error:
        problem = f"answers can't be written: {reason(error)}"
        raise ShardError(task.shard, problem, may_pass=True) from error
    return encoded.report


def _ask(
    footer: Footer, task: ShardTask, tower: str, inputs: AskInputs, own: ShardMeter | None
) -> dict[str, NDArray[Any]]:
    """Compute all rows of the columns from a tower; NaN for rows without an embedding."""
    if footer.report.measures != inputs.annotations.measures:
        raise AnnotationError(
            f"{task.annotation} was made with another configuration than its folder; see "
            "`shardsift verify`"
        )
    if tower not in footer.embeddings:
        raise AnnotationError(f"{task.annotation} was made without; see `shardsift verify`")
    rows, values = footer.report.rows, footer.embeddings[tower].values
    url = join(inputs.annotations.url, embeddings_name(task.annotation, tower))
    measures = [measure for measure in inputs.measures if measure.source == tower]
    names = [column.name for measure in measures for column in measure.columns]
    parts = [np.empty((len(names), 0), np.float32)]
    done = 0
    for part_ND in read_embeddings(url, rows, values):
        parts.append(np.stack([own_N for m in measures for own_N in m.measure(part_ND)]))
        done += len(part_ND)
        if own:
            own.add(done, items=len(part_ND))
    answers_CN = np.concatenate(parts, axis=1)
    errors = footer.report.errors
    scored = rows - sum(errors.values())
    scored += 0 if tower == MACLIP else errors.get(ErrorCode.NON_FINITE, 0)
    if np.isfinite(answers_CN).all(axis=0).sum() != scored:
        raise AnnotationError(
            f"{scored:,} rows have a score, but fewer have a finite embedding; see `shardsift "
            "verify`"
        )
    return dict(zip(names, answers_CN, strict=True))
