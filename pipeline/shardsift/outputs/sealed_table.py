"""The Parquet file of a shard: its schema, its footer, how it is written and read."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from math import ceil
from secrets import token_hex
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import (
    BaseModel,
    BeforeValidator,
    Json,
    NonNegativeInt,
    TypeAdapter,
    ValidationError,
)

from shardsift.columns import COLUMNS, Column
from shardsift.documents import first_problem
from shardsift.errors import AnnotationError
from shardsift.measures import MACLIP, Contents, MeasureRecord
from shardsift.outputs.digest import seal
from shardsift.outputs.embeddings import EmbeddingsIdentity
from shardsift.outputs.sketch import count_of
from shardsift.records import ShardIdentity, ShardReport, Spread
from shardsift.shards.names import annotation_name
from shardsift.storage.files import join, open_read
from shardsift.threads import map_ordered
from shardsift.version import __version__

LABEL = pa.dictionary(pa.int32(), pa.string())
_TYPES = {"label": LABEL, "sha256": pa.binary(32)}
"""Arrow's types for names of ours that Arrow doesn't have."""

ROW_GROUP_ROWS = 65_536

PARQUET_OPTIONS: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": [column.name for column in COLUMNS if column.type == "label"],
    "write_page_index": True,
    "write_page_checksum": True,
}
"""Options of pyarrow for every output."""

_THREADS = 32
METADATA_PREFIX = "shardsift."
"""Prefix of our metadata keys."""


# --- the schema ----------------------------------------------------------------------------------


def arrow_schema(declared: Iterable[Column]) -> Any:
    """Make the Arrow schema of columns. Raises ValueError for a type that Arrow doesn't know."""
    return pa.schema(
        [
            pa.field(
                column.name,
                _TYPES.get(column.type) or pa.type_for_alias(column.type),
                nullable=not column.is_required,
            )
            for column in declared
        ]
    )


SCHEMA = arrow_schema(COLUMNS)
"""The columns of every annotation file."""


def schema_of(contents: Contents, names: Sequence[str] | None = None) -> Any:
    """Make the schema of an output: of all its columns, or of some.

    Raises KeyError if it has no such column.
    """
    if names is None:
        return arrow_schema(contents.columns)
    declared = {column.name: column for column in contents.columns}
    return arrow_schema(declared[name] for name in names)


def encode_sealed(tables: Sequence[Any], schema: Any, metadata: Mapping[str, str]) -> bytes:
    """Encode tables of a schema, and the metadata of the file.

    Equal rows and equal metadata give equal bytes. A file without a row has no row group, for
    `datasets` makes batches as large as the first one.
    """
    schema = schema.with_metadata({METADATA_PREFIX + key: own for key, own in metadata.items()})
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema, **PARQUET_OPTIONS) as writer:
        for table in filter(len, tables):
            writer.write_table(table.replace_schema_metadata(schema.metadata), ROW_GROUP_ROWS)
    return seal(sink.getvalue())


def shard_column(shard: str, rows: int) -> Any:
    """Make a column in which all rows name one shard."""
    return pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array([shard], pa.string()))


# --- the footer ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Footer:
    """The metadata of an output's file; reading it doesn't read the rows.

    Attributes:
        rows_digest: digest of key, index and size of the image file; equal in all outputs of the
            same samples.
        embeddings: SHA-256 and description of embeddings beside the file, by tower.
        sources: SHA-256 of the embeddings that were used for answers, by tower.
    """

    contents: Contents
    shard: ShardIdentity
    report: ShardReport
    rows_digest: str
    embeddings: Mapping[str, EmbeddingsIdentity] = field(
        default_factory=dict[str, EmbeddingsIdentity]
    )
    sources: Mapping[str, str] = field(default_factory=dict[str, str])

    def as_metadata(self) -> dict[str, str]:
        """Write it as metadata of a file, without our prefix; equal footers give equal metadata."""
        report, contents = self.report, self.contents
        metadata: dict[str, Any] = {
            "measures": {name: own.model_dump() for name, own in contents.measures.items()},
            "shard": asdict(self.shard),
            "errors": report.errors,
            "passed_over": report.passed_over,
            "spreads": encode_spreads(report.spreads),
        }
        if MACLIP in contents.measures:
            metadata["config"] = contents.config
        if self.embeddings:
            metadata["embeddings"] = {name: asdict(own) for name, own in self.embeddings.items()}
        if self.sources:
            metadata["sources"] = self.sources
        texts = {name: json.dumps(value, sort_keys=True) for name, value in metadata.items()}
        texts |= {"fingerprint": contents.fingerprint} if contents.fingerprint else {}
        return texts | {
            "rows": str(report.rows),
            "sketch": base64.b64encode(report.sketch).decode(),
            "digest": report.digest,
            "rows_digest": self.rows_digest,
            "version": __version__,
        }


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


class _Metadata(BaseModel):
    """The metadata of an output's file as strings, under our prefix."""

    fingerprint: str = ""
    config: str = "{}"
    measures: str
    shard: Json[ShardIdentity]
    rows: NonNegativeInt
    errors: Json[dict[str, NonNegativeInt]]
    sketch: Annotated[bytes, BeforeValidator(_from_base64)]
    passed_over: Json[dict[str, NonNegativeInt]]
    digest: str
    rows_digest: str
    spreads: Json[Any]
    embeddings: Json[dict[str, EmbeddingsIdentity]] = {}
    sources: Json[dict[str, str]] = {}


def parse_footer(metadata: Mapping[bytes, bytes]) -> Footer:
    """Parse the metadata of a Parquet schema. Raises ValueError."""
    return parse_metadata(own_metadata(metadata))


def parse_metadata(metadata: Mapping[str, str]) -> Footer:
    """Parse our metadata, without its prefix. Raises ValueError."""
    try:
        told = _Metadata.model_validate(metadata)
        contents = _contents(
            told.measures, told.config, (*sorted(told.embeddings),), (*sorted(told.sources),)
        )
        spreads = decode_spreads(told.spreads)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from error
    if told.fingerprint != contents.fingerprint:
        raise ValueError("its fingerprint isn't that of its measures")
    count_of(told.sketch)  # raises if the sketch is damaged
    return Footer(
        contents=contents,
        shard=told.shard,
        report=ShardReport(
            shard=told.shard.path,
            rows=told.rows,
            bytes=told.shard.size,
            errors=told.errors,
            sketch=told.sketch,
            passed_over=told.passed_over,
            digest=told.digest,
            spreads=spreads,
            measures=contents.digests,
        ),
        rows_digest=told.rows_digest,
        embeddings=told.embeddings,
        sources=told.sources,
    )


@lru_cache(maxsize=16)
def _contents(
    measures: str, config: str, embeddings: tuple[str, ...], sources: tuple[str, ...]
) -> Contents:
    """Parse what all files of a run say alike, once for all of them. Raises ValidationError."""
    return Contents(
        measures=TypeAdapter(dict[str, MeasureRecord]).validate_json(measures),
        config=TypeAdapter(dict[str, Any]).validate_json(config),
        embeddings=embeddings,
        sources=sources,
    )


def own_metadata(metadata: Mapping[bytes, bytes]) -> dict[str, str]:
    """Return our keys of a schema's metadata. Raises ValueError if they aren't text."""
    return {
        key.decode().removeprefix(METADATA_PREFIX): value.decode()
        for key, value in metadata.items()
        if key.startswith(METADATA_PREFIX.encode())
    }


def read_metadata(url: str) -> dict[str, str]:
    """Return our part of a Parquet file's metadata; nothing if it has none, or can't be read."""
    try:
        with open_read(url) as file:
            return own_metadata(pq.read_metadata(file).metadata or {})
    except (OSError, pa.ArrowException, ValueError):
        return {}


def read_footer(url: str) -> Footer:
    """Read the metadata of an output's file. Raises AnnotationError if it isn't one of ours."""
    try:
        with open_read(url) as file:
            footer = parse_footer(pq.read_schema(file).metadata or {})
    except (OSError, pa.ArrowException, ValueError) as error:
        raise AnnotationError(f"{url}: not an annotation file of Shardsift: {error}") from error
    scored = footer.report.rows - sum(footer.report.errors.values())
    sketched = count_of(footer.report.sketch)
    if MACLIP in footer.contents.measures and sketched != scored:
        raise AnnotationError(
            f"{url}: its footer counts {scored:,} scored rows, its sketch {sketched:,}; "
            "see `shardsift verify`"
        )
    return footer


# --- what values add up to -----------------------------------------------------------------------

_SPREADS = TypeAdapter(dict[str, tuple[NonNegativeInt, float, float, float, float]])


def spreads_of(tables: Sequence[Any], declared: Iterable[Column]) -> dict[str, Spread]:
    """Sum up the columns of fractions among those declared; a column without a value is left out.

    All tables have one schema.
    """
    found: dict[str, Spread] = {}
    for name in (column.name for column in declared if column.is_fraction):
        parts = [table[name].drop_null().to_numpy() for table in tables]
        values = np.concatenate([np.empty(0), *parts]).astype(np.float64)
        if len(values):
            found[name] = Spread(
                len(values),
                float(values.sum()),
                float((values**2).sum()),
                float(values.min()),
                float(values.max()),
            )
    return found


def encode_spreads(spreads: Mapping[str, Spread]) -> dict[str, Sequence[float]]:
    """Return them for JSON: number of values, sum, sum of squares, lowest and highest."""
    return {
        name: [s.values, s.total, s.squares, s.lowest, s.highest]
        for name, s in sorted(spreads.items())
    }


def decode_spreads(content: Any) -> dict[str, Spread]:
    """Parse it. Raises ValueError."""
    return {name: Spread(*numbers) for name, numbers in _SPREADS.validate_python(content).items()}


def count_values(column: Any) -> dict[str, int]:
    """Count the values of a column of strings, most frequent first; nulls are left out."""
    counted = column.cast(pa.string()).value_counts()
    pairs = ((item["values"], item["counts"]) for item in counted.to_pylist())
    return dict(sorted(((v, n) for v, n in pairs if v is not None), key=lambda pair: -pair[1]))


# --- reading -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Place of an annotation in a file of `compact`: the file, row groups, and its own footer."""

    file: str
    groups: Sequence[int]
    footer: Footer


def read(url: str, columns: Sequence[str] | None = None) -> Any:
    """Read the rows of an annotation file into a `pyarrow.Table`. Raises AnnotationError."""
    _, table = _read_with_footer(url, columns)
    return table


def _read_with_footer(
    url: str, columns: Sequence[str] | None, place: Place | None = None, opened: str = ""
) -> tuple[Footer, Any]:
    """Read the rows of an annotation, and what it says about itself.

    Raises:
        AnnotationError: if it isn't one of ours, is damaged, or its rows don't match its footer.
    """
    try:
        with open_read(url) as file:
            metadata = _metadata(url, opened) if place else None
            parquet = pq.ParquetFile(file, metadata=metadata, page_checksum_verification=True)
            footer = place.footer if place else parse_footer(parquet.schema_arrow.metadata or {})
            table = read_rows(
                parquet, schema_of(footer.contents, columns), place.groups if place else None
            )
    except (OSError, pa.ArrowException, ValueError, KeyError, IndexError) as error:
        raise _unreadable(url, error) from error
    if footer.report.rows != len(table):
        raise AnnotationError(
            f"{url}: its footer counts {footer.report.rows:,} rows, it has {len(table):,}; "
            "see `shardsift verify`"
        )
    return footer, table


@lru_cache(maxsize=64)
def _metadata(url: str, opened: str) -> Any:
    """Read the footer of a file with many shards, which takes as long as the rows of one."""
    with open_read(url) as file:
        return pq.read_metadata(file)


def find_compacted(url: str, files: Iterable[str]) -> Mapping[str, Place]:
    """Find the annotations in files that `compact` has written, by the names that they had.

    Raises AnnotationError if a file is none.
    """
    places: dict[str, Place] = {}
    for file in sorted(files):
        first = 0
        try:
            with open_read(join(url, file)) as content:
                told = own_metadata(pq.read_metadata(content).metadata or {})
            for own in json.loads(told.pop("shards")):
                footer = parse_metadata(told | own)
                groups = range(first, first + ceil(footer.report.rows / ROW_GROUP_ROWS))
                places[annotation_name(footer.shard.path)] = Place(file, groups, footer)
                first = groups.stop
        except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
            raise AnnotationError(
                f"{join(url, file)}: not an unchanged file of `shardsift compact`: {error}; "
                "compact again"
            ) from error
    return places


def _unreadable(url: str, error: Exception) -> AnnotationError:
    return AnnotationError(f"{url}: not a readable annotation file: {error}")


def read_own(file: Any, schema: Any) -> tuple[Mapping[bytes, bytes], Any]:
    """Read the metadata of an open Parquet file of ours, and the columns that a schema names.

    Raises OSError, ArrowException, ValueError or KeyError.
    """
    parquet = pq.ParquetFile(file, page_checksum_verification=True)
    return parquet.schema_arrow.metadata or {}, read_rows(parquet, schema)


def read_rows(parquet: pq.ParquetFile, schema: Any, groups: Sequence[int] | None = None) -> Any:
    """Read the columns that a schema names, of all row groups or some, and check every value."""
    groups = range(parquet.num_row_groups) if groups is None else groups
    table = parquet.read_row_groups(groups, schema.names, use_threads=False)
    table = table.select(schema.names).cast(schema)
    table.validate(full=True)
    return table


def with_digest(table: Any, digest: str) -> Any:
    """Return the table with the digest of all rows of its annotation, in its metadata."""
    return table.replace_schema_metadata({METADATA_PREFIX + "digest": digest})


def digest_in(table: Any) -> str:
    """Return the digest that rows of an annotation carry since they were read."""
    return table.schema.metadata[f"{METADATA_PREFIX}digest".encode()].decode()


@dataclass(frozen=True, slots=True)
class AnnotationFiles:
    """A folder with an annotation for each shard; can be pickled.

    Attributes:
        measures: digests of the measures of all files, by name; None if unknown.
        places: places of compacted annotations, see `find_compacted`.
    """

    url: str
    measures: Mapping[str, str] | None = None
    places: Mapping[str, Place] = field(default_factory=dict[str, Place])
    # unique to this opening: the URL may be compacted again
    _opened: str = field(default_factory=token_hex)

    def read(self, name: str, columns: Sequence[str] | None = None) -> Any:
        """Read the rows of an annotation, as the function `read` does; they carry its digest.

        Raises:
            AnnotationError: also if it is the annotation of another shard, or by other measures.
        """
        footer, table = self.read_with_footer(name, columns)
        return with_digest(table, footer.report.digest)

    def read_again(self, name: str, schema: Any, digest: str) -> Any:
        """Read the columns that a schema names of an annotation whose footer was read before.

        Nothing is compared of its footer now but the `digest` of all rows. Raises AnnotationError.
        """
        if self.places:
            return self.read(name, schema.names)
        url = join(self.url, name)
        try:
            with open_read(url) as file:
                metadata, table = read_own(file, schema)
        except (OSError, pa.ArrowException, ValueError, KeyError) as error:
            raise _unreadable(url, error) from error
        if metadata.get(f"{METADATA_PREFIX}digest".encode()) != digest.encode():
            raise AnnotationError(f"{url}: was replaced while it was read; run the command again")
        return table

    def read_with_footer(
        self, name: str, columns: Sequence[str] | None = None
    ) -> tuple[Footer, Any]:
        """Read the rows of an annotation, and what it says about itself. Raises as `read` does."""
        place = self.places.get(name)
        url = join(self.url, place.file if place else name)
        footer, table = _read_with_footer(url, columns, place, self._opened)
        _check_name(url, name, footer)
        if self.measures is not None and footer.report.measures != self.measures:
            there, here = footer.report.measures, self.measures
            name = next(n for n in (*here, *there) if here.get(n) != there.get(n))
            raise AnnotationError(
                f"{url}: was made with another configuration ({name} {there.get(name)}) than "
                f"its folder ({here.get(name)}); see `shardsift verify`"
            )
        return footer, table

    def footer(self, name: str) -> Footer:
        """Return the footer of an annotation. Raises AnnotationError."""
        if name in self.places:
            return self.places[name].footer
        url = join(self.url, name)
        footer = read_footer(url)
        _check_name(url, name, footer)
        return footer

    def footers(self, names: Iterable[str]) -> Iterator[Footer]:
        """Read footers by many threads, in order. Raises AnnotationError."""
        return map_ordered(self.footer, names, _THREADS)


def _check_name(url: str, name: str, footer: Footer) -> None:
    if annotation_name(footer.shard.path) != name:
        raise AnnotationError(
            f"{url}: is the annotation of {footer.shard.path}; see `shardsift verify`"
        )
