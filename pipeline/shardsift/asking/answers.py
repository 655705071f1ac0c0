"""The answers of one shard: a row for every row of its annotation, in a Parquet file.

Shapes in names: N rows, A attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, NonNegativeInt, ValidationError

from shardsift.config import Attributes, Extras, attribute_columns
from shardsift.documents import first_problem
from shardsift.errors import AnnotationError, OutputError, ShardError
from shardsift.outputs.digest import digest_of
from shardsift.outputs.embeddings import embeddings_name, read_embeddings
from shardsift.outputs.seal import is_broken
from shardsift.outputs.sealed_table import (
    Footer,
    encode_sealed,
    own_metadata,
    read_footer,
    schema_of,
    shard_column,
)
from shardsift.outputs.spreads import decode_spreads, encode_spreads, spreads_of
from shardsift.progress import Meter, ShardMeter
from shardsift.records import Spread
from shardsift.redaction import reason
from shardsift.storage.files import commit, join, open_read, read_bytes
from shardsift.storage.lease import Lease
from shardsift.storage.local import no_guard
from shardsift.version import __version__

if TYPE_CHECKING:  # a mistake is told before torch is loaded
    from shardsift.scoring.questions import Questions


@dataclass(frozen=True, kw_only=True, slots=True)
class AskTask:
    """One shard: `annotation` is what its files are called in both folders, `url` that file's."""

    shard: str
    annotation: str
    url: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AskInputs:
    """What is the same for all shards of a run: whose embeddings, what is asked, where to write."""

    annotations: str
    questions: Questions
    output: str
    lease: Lease | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerReport:
    """What came of a shard: its rows, how many have answers, and what these add up to.

    `asked` is a digest of the questions; `embeddings` is the SHA-256 of the file that was asked,
    `fingerprint` that of its scores, `digest` is of all rows.
    """

    shard: str
    rows: int
    answered: int
    attributes: Mapping[str, Spread]
    asked: str
    embeddings: str
    fingerprint: str
    digest: str


def answer_shard(task: AskTask, inputs: AskInputs, meter: Meter | None = None) -> AnswerReport:
    """Ask a shard's embeddings, which a meter counts, and commit the answers.

    Raises:
        ShardError: if they can't be read or aren't those of its annotation, or the answers can't
            be written.
    """
    try:
        footer = read_footer(join(inputs.annotations, task.annotation))
        with (meter or Meter()).shard(task.shard, footer.report.rows) as own:
            answers_AN = _ask(footer, task, inputs, own)
        table = _table(task.shard, answers_AN, inputs.questions.attributes)
        data, report = encode_answers(table, footer, inputs.questions.attributes)
    except (AnnotationError, ValueError) as error:
        raise ShardError(task.shard, f"its embeddings can't be asked: {error}") from error
    except OSError as error:
        name = embeddings_name(task.annotation)
        problem = f"{name} can't be read: {reason(error)}; see `shardsift verify`"
        raise ShardError(task.shard, problem) from error
    try:
        guard = inputs.lease.guard if inputs.lease else no_guard
        commit(join(inputs.output, task.annotation), data, guard)
    except (OSError, OutputError) as error:
        problem = f"its answers can't be written: {reason(error)}"
        raise ShardError(task.shard, problem, may_pass=True) from error
    return report


def _ask(footer: Footer, task: AskTask, inputs: AskInputs, own: ShardMeter) -> NDArray[np.float32]:
    """Compute the answers of all rows, shape (A, N); NaN for rows without an embedding."""
    if footer.fingerprint != inputs.questions.fingerprint or footer.shard.path != task.shard:
        raise AnnotationError(
            f"{task.annotation} is of {footer.shard.path} and fingerprint {footer.fingerprint}; "
            "see `shardsift verify`"
        )
    if footer.embeddings is None:
        raise AnnotationError(f"{task.annotation} was made without; see `shardsift verify`")
    rows, values = footer.report.rows, footer.embeddings.values
    url = join(inputs.annotations, embeddings_name(task.annotation))
    parts, done = [np.empty((len(inputs.questions.attributes), 0), np.float32)], 0
    for part_ND in read_embeddings(url, rows, values):
        parts.append(inputs.questions.ask(part_ND))
        done += len(part_ND)
        own.add(done, items=len(part_ND))
    answers_AN = np.concatenate(parts, axis=1)
    scored = rows - sum(footer.report.errors.values())
    if np.isfinite(answers_AN).all(axis=0).sum() != scored:
        raise AnnotationError(
            f"{scored:,} rows have a score, and not as many an embedding that is finite; see "
            "`shardsift verify`"
        )
    return answers_AN


def _table(shard: str, answers_AN: NDArray[np.float32], attributes: Attributes) -> Any:
    rows = answers_AN.shape[1]
    columns = [pa.array(answer_N, mask=np.isnan(answer_N)) for answer_N in answers_AN]
    index = pa.array(np.arange(rows, dtype=np.int32))
    return pa.Table.from_arrays(
        [shard_column(shard, rows), index, *columns], schema=answer_schema(attributes)
    )


# --- the file ------------------------------------------------------------------------------------


def answer_schema(attributes: Attributes) -> Any:
    """Describe the columns of answers: those of annotations that these are joined by, and new."""
    columns = ["shard", "index", *attribute_columns(attributes)]
    return schema_of(Extras(attributes=dict(attributes)), columns)


class _Metadata(BaseModel):
    """What the metadata of an answer file says, under our prefix."""

    shard: str
    rows: NonNegativeInt
    answered: NonNegativeInt
    extras_digest: str
    attributes: str
    embeddings: str
    fingerprint: str
    digest: str


def encode_answers(
    table: Any, footer: Footer, attributes: Attributes
) -> tuple[bytes, AnswerReport]:
    """Return the file of a shard's answers, and what it reports. Equal answers give equal bytes."""
    assert footer.embeddings, "they were asked"
    extras = Extras(attributes=dict(attributes))
    report = AnswerReport(
        shard=footer.shard.path,
        rows=len(table),
        answered=len(table) - table.column(2).null_count,
        attributes=spreads_of(table),
        asked=extras.digest(),
        embeddings=footer.embeddings.sha256,
        fingerprint=footer.fingerprint,
        digest=digest_of(table),
    )
    metadata = {
        "shard": report.shard,
        "rows": str(report.rows),
        "answered": str(report.answered),
        "extras": extras.as_json(),
        "extras_digest": report.asked,
        "attributes": encode_spreads(report.attributes),
        "embeddings": report.embeddings,
        "fingerprint": report.fingerprint,
        "digest": report.digest,
        "version": __version__,
    }
    return encode_sealed([table], table.schema, metadata), report


def read_report(url: str) -> AnswerReport:
    """Read what a file of answers reports. Raises AnnotationError if it isn't one."""
    try:
        with open_read(url) as file:
            return _parse(pq.read_schema(file).metadata or {})
    except (OSError, pa.ArrowException, ValueError) as error:
        raise AnnotationError(f"{url}: holds no answers of Shardsift: {error}") from error


def read_answers(url: str, attributes: Attributes) -> tuple[AnswerReport, Any]:
    """Read all of a file of answers, and check that it is as it was written.

    Raises:
        AnnotationError: if it isn't.
        OSError: if it can't be fetched.
    """
    data = read_bytes(url)
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        report = _parse(file.schema_arrow.metadata or {})
        table = file.read(use_threads=False).cast(answer_schema(attributes))
        table.validate(full=True)
        if digest_of(table) != report.digest or is_broken(data):
            raise ValueError("its bytes are not those that were written")
    except (pa.ArrowException, ValueError, KeyError, OSError) as error:
        raise AnnotationError(f"is damaged: {error}") from error
    return report, table


def _parse(metadata: Mapping[bytes, bytes]) -> AnswerReport:
    try:
        told = _Metadata.model_validate(own_metadata(metadata))
    except ValidationError as error:
        raise ValueError(first_problem(error)) from error
    return AnswerReport(
        shard=told.shard,
        rows=told.rows,
        answered=told.answered,
        attributes=decode_spreads(told.attributes),
        asked=told.extras_digest,
        embeddings=told.embeddings,
        fingerprint=told.fingerprint,
        digest=told.digest,
    )
