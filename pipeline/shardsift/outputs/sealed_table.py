"""The annotation file of a shard: its schema, its footer, and how it is read."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from math import ceil
from secrets import token_hex
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, BeforeValidator, Json, NonNegativeInt, ValidationError

from shardsift.config import ATTRIBUTE_PREFIX, Extras
from shardsift.documents import first_problem
from shardsift.errors import AnnotationError
from shardsift.outputs.embeddings import EmbeddingsIdentity
from shardsift.outputs.seal import seal
from shardsift.outputs.sketch import count_of
from shardsift.outputs.spreads import decode_spreads, encode_spreads
from shardsift.records import ShardIdentity, ShardReport
from shardsift.shards.names import annotation_name
from shardsift.storage.files import join, open_read
from shardsift.threads import map_ordered
from shardsift.version import __version__

LABEL = pa.dictionary(pa.int32(), pa.string())

SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("shard", LABEL, nullable=False),
        pa.field("index", pa.int32(), nullable=False),
        pa.field("uid", pa.string()),
        pa.field("image_ext", LABEL),
        pa.field("tar_offset", pa.int64()),
        pa.field("tar_size", pa.int32()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("crops", pa.int16()),
        pa.field("quality", pa.float32()),
        pa.field("q_sim", pa.float32()),
        pa.field("q_mag", pa.float32()),
        pa.field("w_sim", pa.float32()),
        pa.field("quality_min", pa.float32()),
        pa.field("quality_std", pa.float32()),
        pa.field("sha256", pa.binary(32)),
        pa.field("phash", pa.uint64()),
        pa.field("error", LABEL),
        pa.field("error_message", pa.string()),
    ]
)
"""Columns of every annotation file; those of attributes stand in front of `error`."""

MEANINGS = {
    "key": "WebDataset `__key__`",
    "shard": "the shard's path below the common root of the run's inputs",
    "index": "place of the sample in its shard, from 0",
    "uid": "`uid`, else `sha256`, of the sample's `.json`",
    "image_ext": "extension of the scored image, in lower case",
    "tar_offset": "where the image's bytes begin in the tar; null in a gzip'd one",
    "tar_size": "how many they are; null from 2 GiB",
    "width": "of the decoded image, in pixels, EXIF orientation applied",
    "height": "the same",
    "crops": "number of views scored",
    "quality": "MA-CLIP: the fused score, mean over the crops; above 0, and may pass 1",
    "q_sim": "the cue of similarity to the prompts, 0 to 1, mean over the crops",
    "q_mag": "the cue of magnitude, mean over the crops; above 0",
    "w_sim": "weight of `q_sim` in the fusion, mean over the crops; that of `q_mag` is 1 less it",
    "quality_min": "lowest quality of a crop: one bad corner shows here",
    "quality_std": "population standard deviation of quality over the crops",
    "sha256": "of the image's file, with `--hashes sha256`",
    "phash": "perceptual hash of the picture, as `imagehash.phash` gives it, with `--hashes phash`",
    "attr_…": "what was asked for with `--attribute` or `--attributes`, 0 to 1, mean over crops",
    "error": "null if scored, else one of the codes below",
    "error_message": "one line about it, of 200 characters at most",
}
"""What a column means."""

_ATTRIBUTE = pa.float32()

ROW_GROUP_ROWS = 65_536

PARQUET_OPTIONS: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": [field.name for field in SCHEMA if field.type == LABEL],
    "write_page_index": True,
    "write_page_checksum": True,
}
"""How annotations are written."""

_THREADS = 32
METADATA_PREFIX = "shardsift."
"""Prefix of our metadata keys."""


def schema_of(extras: Extras, columns: Sequence[str] | None = None) -> Any:
    """Describe the columns of annotations with these extras: all, or some of them.

    Raises KeyError if no annotation can have one of them.
    """
    if columns is None:
        names = SCHEMA.names
        place = names.index("error")
        columns = [*names[:place], *extras.columns, *names[place:]]
    return pa.schema(map(_field_of, columns))


def _field_of(name: str) -> Any:
    return pa.field(name, _ATTRIBUTE) if name.startswith(ATTRIBUTE_PREFIX) else SCHEMA.field(name)


def encode_sealed(tables: Sequence[Any], schema: Any, metadata: Mapping[str, str]) -> bytes:
    """Encode tables of a schema, and what the file says of itself.

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Footer:
    """The metadata of an annotation; reading it doesn't read the rows."""

    fingerprint: str
    config: Mapping[str, Any]
    extras: Extras
    shard: ShardIdentity
    report: ShardReport
    embeddings: EmbeddingsIdentity | None = None

    def as_metadata(self) -> dict[str, str]:
        """Write it as metadata of a file, without our prefix; equal footers give equal metadata."""
        report = self.report
        metadata = {
            "fingerprint": self.fingerprint,
            "config": json.dumps(self.config, sort_keys=True),
            "extras": self.extras.as_json(),
            "extras_digest": self.extras.digest(),
            "shard": json.dumps(asdict(self.shard), sort_keys=True),
            "rows": str(report.rows),
            "errors": json.dumps(report.errors),
            "sketch": base64.b64encode(report.sketch).decode(),
            "passed_over": json.dumps(report.passed_over),
            "digest": report.digest,
            "attributes": encode_spreads(report.attributes),
            "version": __version__,
        }
        if self.embeddings:
            metadata["embeddings"] = json.dumps(asdict(self.embeddings))
        return metadata


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


class _Metadata(BaseModel):
    """The metadata of an annotation as strings, under our prefix."""

    fingerprint: str
    config: Json[dict[str, Any]]
    extras: Json[Extras]
    extras_digest: str
    shard: Json[ShardIdentity]
    rows: NonNegativeInt
    errors: Json[dict[str, NonNegativeInt]]
    sketch: Annotated[bytes, BeforeValidator(_from_base64)]
    passed_over: Json[dict[str, NonNegativeInt]]
    digest: str
    attributes: str
    embeddings: Json[EmbeddingsIdentity] | None = None


def read(url: str, columns: Sequence[str] | None = None) -> Any:
    """Read the rows of an annotation file into a `pyarrow.Table`. Raises AnnotationError."""
    _, table = _read_with_footer(url, columns)
    return table


@dataclass(frozen=True, slots=True)
class Place:
    """Where `compact` has put an annotation: the file, its row groups, and its own footer."""

    file: str
    groups: Sequence[int]
    footer: Footer


def _read_with_footer(
    url: str, columns: Sequence[str] | None, place: Place | None = None, opened: str = ""
) -> tuple[Footer, Any]:
    """Read the rows of an annotation, and what it says about itself.

    Raises:
        AnnotationError: if it isn't one of ours, is damaged, or has other rows than it says.
    """
    try:
        with open_read(url) as file:
            metadata = _metadata(url, opened) if place else None
            parquet = pq.ParquetFile(file, metadata=metadata, page_checksum_verification=True)
            footer = place.footer if place else parse_footer(parquet.schema_arrow.metadata or {})
            table = read_rows(
                parquet, schema_of(footer.extras, columns), place.groups if place else None
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
                footer = _parse(told | own)
                run = next(iter(places.values())).footer if places else footer
                if (footer.config, footer.extras) == (run.config, run.extras):  # held once
                    footer = replace(footer, config=run.config, extras=run.extras)
                groups = range(first, first + ceil(footer.report.rows / ROW_GROUP_ROWS))
                places[annotation_name(footer.shard.path)] = Place(file, groups, footer)
                first = groups.stop
        except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
            raise AnnotationError(
                f"{join(url, file)}: not what `shardsift compact` wrote: {error}; compact again"
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


def read_footer(url: str) -> Footer:
    """Read the metadata of an annotation file. Raises AnnotationError if it isn't one of ours."""
    try:
        with open_read(url) as file:
            footer = parse_footer(pq.read_schema(file).metadata or {})
    except (OSError, pa.ArrowException, ValueError) as error:
        raise AnnotationError(f"{url}: not an annotation file of Shardsift: {error}") from error
    scored = footer.report.rows - sum(footer.report.errors.values())
    if (sketched := count_of(footer.report.sketch)) != scored:
        raise AnnotationError(
            f"{url}: its footer counts {scored:,} scored rows, its sketch {sketched:,}; "
            "see `shardsift verify`"
        )
    return footer


def parse_footer(metadata: Mapping[bytes, bytes]) -> Footer:
    """Parse the metadata of a Parquet schema. Raises ValueError."""
    return _parse(own_metadata(metadata))


def _parse(metadata: Mapping[str, str]) -> Footer:
    try:
        told = _Metadata.model_validate(metadata)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from error
    count_of(told.sketch)  # for it has to be one
    return Footer(
        fingerprint=told.fingerprint,
        config=told.config,
        extras=told.extras,
        shard=told.shard,
        report=ShardReport(
            shard=told.shard.path,
            rows=told.rows,
            bytes=told.shard.size,
            errors=told.errors,
            sketch=told.sketch,
            passed_over=told.passed_over,
            digest=told.digest,
            attributes=decode_spreads(told.attributes),
        ),
        embeddings=told.embeddings,
    )


def own_metadata(metadata: Mapping[bytes, bytes]) -> dict[str, str]:
    """Return what is ours of a schema's metadata. Raises ValueError if that is no text."""
    return {
        key.decode().removeprefix(METADATA_PREFIX): value.decode()
        for key, value in metadata.items()
        if key.startswith(METADATA_PREFIX.encode())
    }


def with_digest(table: Any, digest: str) -> Any:
    """Return the table with the digest of all rows of its annotation, in its metadata."""
    return table.replace_schema_metadata({METADATA_PREFIX + "digest": digest})


def digest_in(table: Any) -> str:
    """Return the digest that rows of an annotation carry since they were read."""
    return table.schema.metadata[f"{METADATA_PREFIX}digest".encode()].decode()


@dataclass(frozen=True, slots=True)
class Scored:
    """Which shard an annotation is of, and the configuration that it was made with."""

    shard: ShardIdentity
    fingerprint: str


@dataclass(frozen=True, slots=True)
class AnnotationFiles:
    """A folder with an annotation for each shard; may be pickled.

    Attributes:
        fingerprint: of the configuration that all rows are of; None if that isn't known.
        places: where annotations are that have no file of their own: see `find_compacted`.
    """

    url: str
    fingerprint: str | None = None
    places: Mapping[str, Place] = field(default_factory=dict[str, Place])
    # a token of this opening, for the same URL may be compacted anew
    _opened: str = field(default_factory=token_hex)

    def read(
        self, name: str, columns: Sequence[str] | None = None, digest: str | None = None
    ) -> Any:
        """Read the rows of an annotation, as the function `read` does; they carry its digest.

        With the `digest` of a footer that was read before, that is all that is compared of this
        one.

        Raises:
            AnnotationError: also if it is the annotation of another shard or configuration.
        """
        if digest is not None and columns is not None and not self.places:
            url = join(self.url, name)
            try:
                with open_read(url) as file:
                    metadata, table = read_own(file, schema_of(Extras(), columns))
            except (OSError, pa.ArrowException, ValueError, KeyError) as error:
                raise _unreadable(url, error) from error
            if metadata.get(f"{METADATA_PREFIX}digest".encode()) != digest.encode():
                raise AnnotationError(f"{url}: was written anew while it was read; run this again")
            return table
        footer, table = self.read_with_footer(name, columns)
        return with_digest(table, footer.report.digest)

    def read_with_footer(
        self, name: str, columns: Sequence[str] | None = None
    ) -> tuple[Footer, Any]:
        """Read the rows of an annotation, and what it says about itself. Raises as `read` does."""
        place = self.places.get(name)
        url = join(self.url, place.file if place else name)
        footer, table = _read_with_footer(url, columns, place, self._opened)
        _check_name(url, name, footer)
        if self.fingerprint is not None and footer.fingerprint != self.fingerprint:
            raise AnnotationError(
                f"{url}: was made with another configuration ({footer.fingerprint}) than "
                f"its folder ({self.fingerprint}); see `shardsift verify`"
            )
        return footer, table

    def scored(self, name: str) -> Scored:
        """Return the shard and the configuration of an annotation. Raises AnnotationError."""
        footer = self._footer(name)
        return Scored(footer.shard, footer.fingerprint)

    def footers(self, names: Iterable[str]) -> Iterator[Footer]:
        """Read footers by many threads, in order. Raises AnnotationError."""
        return map_ordered(self._footer, names, _THREADS)

    def _footer(self, name: str) -> Footer:
        if name in self.places:
            return self.places[name].footer
        url = join(self.url, name)
        footer = read_footer(url)
        _check_name(url, name, footer)
        return footer


def _check_name(url: str, name: str, footer: Footer) -> None:
    if annotation_name(footer.shard.path) != name:
        raise AnnotationError(
            f"{url}: is the annotation of {footer.shard.path}; see `shardsift verify`"
        )


def count_values(column: Any) -> dict[str, int]:
    """Count the values of a column of strings, most frequent first; nulls are left out."""
    counted = column.cast(pa.string()).value_counts()
    pairs = ((item["values"], item["counts"]) for item in counted.to_pylist())
    return dict(sorted(((v, n) for v, n in pairs if v is not None), key=lambda pair: -pair[1]))
