"""A Parquet file with pictures in it to a stream of samples, a row each.

Pictures lie in a binary column, or in a struct of `bytes` and `path`, as `datasets` writes it. Row
groups are streamed page by page, so that memory is bounded by some pictures, whatever their size.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from shardsift.config import did_you_mean
from shardsift.errors import ErrorCode, ImageError, InputError, ShardError
from shardsift.reading import Reading
from shardsift.records import ImageFile, PassedOver, Sample
from shardsift.redaction import reason
from shardsift.shards.beside import CAPTIONS, as_files, extension_of
from shardsift.shards.samples import (
    BEGINNING_BYTES,
    MAX_IMAGE_BYTES,
    count_pages,
    kind_of,
    too_large,
    uid_of,
)
from shardsift.storage.files import open_read

pc: Any = pyarrow.compute  # its functions are made at import, unseen by type checkers

_ROWS = 16
"""Rows that are read at a time."""

_PAGE_BYTES = 1 << 20
_UIDS = ("uid", "sha256")
_IS_BINARY = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns to read; `problem` is why no picture of the file can be scored.

    `beside` are further columns; `whole` is true if they are all but that of the picture.
    """

    picture: Any
    key: str | None
    uids: Sequence[str]
    problem: str | None
    beside: Sequence[str] = ()
    whole: bool = False

    @property
    def names(self) -> list[str]:
        names = [] if self.problem else [self.picture.name]
        return list(
            dict.fromkeys([*names, *([self.key] if self.key else []), *self.uids, *self.beside])
        )


def read_parquet(
    url: str,
    shard: str,
    passed_over: Counter[str],
    reading: Reading,
    size: int = 0,
    *,
    whole: bool = False,
    captions: Collection[str] = (),
) -> Iterator[Sample]:
    """Stream the rows of a Parquet file of `size` bytes.

    `whole` samples have all columns, other ones those of `captions`: `txt`, or a column's name.

    Raises:
        ShardError: if it can't be opened, isn't Parquet, is damaged, or has no column of pictures.
    """
    samples = 0
    try:
        with open_read(url) as file:
            parquet = open_parquet(file)
            columns = _columns_of(parquet.schema_arrow, reading)
            columns = _with_beside(columns, parquet.schema_arrow, captions, whole=whole)
            rows = max(parquet.metadata.num_rows, 1)
            for picture, row in _rows(parquet, columns, range(parquet.num_row_groups)):
                yield _sample(columns, samples, picture, row, passed_over, size / rows)
                samples += 1
    except InputError as error:
        raise ShardError(shard, str(error)) from error
    except (pa.ArrowException, OSError, ValueError) as error:
        before = f"; whole rows before that: {samples}" if samples else ""
        raise ShardError(shard, f"not readable Parquet: {reason(error)}{before}") from error


def check_parquet(url: str, reading: Reading) -> None:
    """Refuse a file without a column of pictures. Raises InputError."""
    try:
        with open_read(url) as file:
            columns = _columns_of(open_parquet(file).schema_arrow, reading)
    except InputError as error:
        raise InputError(f"{url}: {error}") from error
    except (pa.ArrowException, ValueError) as error:
        raise InputError(f"{url}: not readable Parquet: {reason(error)}") from error
    if columns.problem:
        raise InputError(f"{url}: {columns.problem}")


def read_picture(url: str, index: int, reading: Reading) -> bytes:
    """Read the picture of one row. Raises OSError or ValueError."""
    try:
        with open_read(url) as file:
            parquet = open_parquet(file)
            columns = _columns_of(parquet.schema_arrow, reading)
            first = 0
            for group in range(parquet.num_row_groups):
                rows = parquet.metadata.row_group(group).num_rows
                if index < first + rows:
                    for number, (picture, _) in enumerate(_rows(parquet, columns, [group]), first):
                        if number == index and picture:
                            return picture[0] or b""
                first += rows
    except (pa.ArrowException, InputError) as error:
        raise ValueError(str(error)) from error
    raise ValueError(f"has no picture in row {index}")


def open_parquet(file: Any) -> Any:
    """Open a Parquet file to read it page by page, with checksums. Raises pa.ArrowException."""
    return pq.ParquetFile(
        file, buffer_size=_PAGE_BYTES, pre_buffer=False, page_checksum_verification=True
    )


def pictures_in(batch: Any, schema: Any, reading: Reading) -> list[bytes]:
    """Return the pictures of rows with all columns; of null none. Raises InputError."""
    pictures = _pictures(batch, _columns_of(schema, reading).picture)
    return [(picture and picture[0]) or b"" for picture in pictures]


_Picture = tuple[bytes | None, str | None]
"""The bytes of a file, and its path."""


def _rows(
    parquet: Any, columns: _Columns, groups: Sequence[int]
) -> Iterator[tuple[_Picture | None, dict[str, Any]]]:
    """Yield the picture of each row, and its other columns; of null no picture."""
    names = columns.names
    if not names:  # nothing of the rows is read
        rows = sum(parquet.metadata.row_group(group).num_rows for group in groups)
        yield from ((None, {}) for _ in range(rows))
        return
    others = [name for name in names if columns.problem or name != columns.picture.name]
    for batch in parquet.iter_batches(_ROWS, list(groups), names, use_threads=False):
        pictures = [None] * len(batch) if columns.problem else _pictures(batch, columns.picture)
        rest = batch.select(others).to_pylist() if others else [{}] * len(batch)
        yield from zip(pictures, rest, strict=True)


def _pictures(batch: Any, field: Any) -> list[_Picture | None]:
    column = batch[field.name]
    if not pa.types.is_struct(field.type):
        return [None if data is None else (data, None) for data in column.to_pylist()]
    files = pc.struct_field(column, "bytes").to_pylist()
    paths: list[str | None] = [None] * len(files)
    if field.type.get_field_index("path") >= 0:
        paths = pc.struct_field(column, "path").to_pylist()
    pairs = zip(files, paths, strict=True)
    return [None if file is None and path is None else (file, path) for file, path in pairs]


def _sample(
    columns: _Columns,
    index: int,
    picture: _Picture | None,
    row: dict[str, Any],
    passed_over: Counter[str],
    bytes_of_row: float,
) -> Sample:
    file, path = picture or (None, None)
    problem: ImageError | None = None
    image: ImageFile | None = None
    if columns.problem:
        problem = ImageError(ErrorCode.UNSUPPORTED_FORMAT, columns.problem)
    elif file is None:
        told = f"has the path {path!r} of a picture, and no bytes" if path else "has no picture"
        problem = ImageError(ErrorCode.MISSING_IMAGE, f"the row {told}")
    else:
        passed_over[PassedOver.FURTHER_PAGES] += count_pages(file)
        extension = kind_of(file[:BEGINNING_BYTES]) or extension_of(path or "") or None
        is_large = len(file) > MAX_IMAGE_BYTES
        problem = too_large(len(file)) if is_large else None
        data = None if is_large and not columns.whole else file
        image = ImageFile(extension=extension, data=data, offset=None, size=len(file))
    uid, is_long = uid_of(*(row.get(name) for name in columns.uids))
    passed_over[PassedOver.LONG_UIDS] += is_long
    key = row.get(columns.key) if columns.key else None
    files = as_files({name: row[name] for name in columns.beside}) if columns.beside else {}
    return Sample(
        key=str(index if key is None else key),
        index=index,
        uid=uid,
        image=image,
        json=files.pop("json", None),
        problem=problem,
        beside=files,
        reached=int((index + 1) * bytes_of_row),
    )


def _with_beside(
    columns: _Columns, schema: Any, captions: Collection[str], *, whole: bool
) -> _Columns:
    """Add the columns that lie beside pictures, as far as they are wanted."""
    others = [name for name in schema.names if columns.problem or name != columns.picture.name]
    if not whole:
        roots = {field.partition(".")[0] for field in captions}
        others = [
            name
            for name in others
            if name in captions or name in roots or ("txt" in captions and name.lower() in CAPTIONS)
        ]
    return replace(columns, beside=others, whole=whole)


def _columns_of(schema: Any, reading: Reading) -> _Columns:
    """Choose the columns to read. Raises InputError."""
    picture = _picture_column(schema, reading.image)
    problem = None
    if not _holds_pictures(picture):
        problem = f"the column {picture.name} holds {picture.type}, not one picture a row"
    if reading.key is not None:
        if reading.key not in schema.names:
            hint = did_you_mean(reading.key, schema.names, f"there are {', '.join(schema.names)}")
            raise InputError(f"has no column {reading.key} for --key; {hint}")
        kind = schema.field(reading.key).type
        if not _can_name(kind):
            raise InputError(f"--key {reading.key}: is {kind}; name text or whole numbers")
    uids = [name for name in _UIDS if name in schema.names and _can_name(schema.field(name).type)]
    return _Columns(picture, reading.key, uids, problem)


def _picture_column(schema: Any, wanted: str | None) -> Any:
    if wanted is not None:
        if wanted not in schema.names:
            hint = did_you_mean(wanted, schema.names, f"there are {', '.join(schema.names)}")
            raise InputError(f"has no column {wanted} for --image; {hint}")
        return schema.field(wanted)
    declared = _declared(schema)
    found = [field for field in schema if field.name in declared]
    if not declared:
        lists = (field for field in schema if pa.types.is_list(field.type))
        found = [field for field in schema if _holds_pictures(field)]
        found = found or [each for each in lists if _holds_pictures(each.type.value_field)]
    if len(found) > 1:
        names = ", ".join(field.name for field in found)
        raise InputError(f"has pictures in several columns: {names}; choose one with --image")
    if not found:
        raise InputError(
            f"has no column of pictures, there are {', '.join(schema.names)}; if one holds "
            "pictures, name it with --image; if one holds URLs, download them first, as "
            "img2dataset does"
        )
    return found[0]


def _declared(schema: Any) -> set[str]:
    """Return the columns that `datasets` has recorded as images; empty without its record."""
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        told = json.loads((schema.metadata or {})[b"huggingface"])
        features = told["info"]["features"]
        return {name for name, kind in features.items() if _is_image(kind)} & {*schema.names}
    return set()


def _is_image(kind: Any) -> bool:
    """Return whether a feature of `datasets` is an image, or a list of images."""
    if isinstance(kind, list):
        return bool(kind) and _is_image(kind[0])
    if not isinstance(kind, dict):
        return False
    return kind.get("_type") == "Image" or _is_image(kind.get("feature"))


def _holds_pictures(field: Any) -> bool:
    kind = field.type
    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _holds_pictures(kind.field(place))
    return any(is_binary(kind) for is_binary in _IS_BINARY)


def _can_name(kind: Any) -> bool:
    """Return whether values of a type can be keys and uids."""
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return is_text or pa.types.is_integer(kind)
