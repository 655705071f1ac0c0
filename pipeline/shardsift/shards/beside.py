"""Captions and fields that lie beside a picture, as further files of its sample."""

from __future__ import annotations

import json
import math
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv

from shardsift.records import Sample
from shardsift.shards.samples import BEGINNING_BYTES, kind_of, parse_fields
from shardsift.storage.files import identify, join, open_read, read_bytes
from shardsift.text import printable

pc: Any = pyarrow.compute  # its functions are made at import, unseen by type checkers

CAPTIONS = ("caption", "text", "txt")
"""Columns that hold a caption, in any case of letters; the first of them counts."""

_FILE_NAME = "file_name"
_TEXTS = {name: pa.string() for name in (_FILE_NAME, "uid", "sha256")}
"""Columns of a CSV file that are no numbers, whatever they look like."""

_NO_EXTENSION = re.compile(r"[^a-z0-9_-]+")


def as_files(row: Mapping[str, Any]) -> dict[str, bytes]:
    """Spell a row of a table as files, by extension: `json`, a caption as `txt`, binary values.

    A picture in a column `mask` becomes `mask.png`, the second one of a list `mask.1.png`.
    """
    files: dict[str, bytes] = {}
    fields: dict[str, Any] = {}
    for name, value in row.items():
        values = value if isinstance(value, list) and value else [value]
        if not all(map(_is_file, values)):
            fields[name] = _plain(value)
            continue
        for place, each in enumerate(values):
            data, path = _file(each)
            kind = kind_of(data[:BEGINNING_BYTES]) or extension_of(path) or "bin"
            number = f".{place}" if isinstance(value, list) else ""
            column = _NO_EXTENSION.sub("_", name.lower())
            while f"{column}{number}.{kind}" in files:  # columns `Mask` and `mask`
                column += "_"
            files[f"{column}{number}.{kind}"] = data
    told = {name.lower(): value for name, value in row.items() if isinstance(value, str)}
    caption = next((told[name] for name in CAPTIONS if name in told), None)
    captions = {} if caption is None else {"txt": caption.encode()}
    return {**captions, "json": json.dumps(fields, ensure_ascii=False).encode(), **files}


def extension_of(path: str) -> str:
    """Return the extension of a path, in lower case; empty if it has none that a file can have."""
    extension = path.rpartition(".")[2].lower() if "." in path else ""
    return "" if _NO_EXTENSION.search(extension) else extension


def _is_file(value: Any) -> bool:
    """Return whether a value is binary, or a struct of `bytes` and `path`."""
    return isinstance(_file(value)[0], bytes)


def _file(value: Any) -> tuple[Any, str]:
    """Return content and path of a file."""
    return (value.get("bytes"), value.get("path") or "") if isinstance(value, dict) else (value, "")


def _plain(value: Any) -> Any:
    """Return what JSON can hold: bytes in base64, times by ISO 8601, null for NaN."""
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, date | time):
        return value.isoformat()
    return value if value is None or isinstance(value, str | int) else str(value)


def merged_files(metadata: Mapping[str, bytes], files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Add files of a row of metadata to those beside a picture, which win, field by field."""
    both = {**metadata, **files}
    if "json" in metadata and (own := parse_fields(files.get("json"))):
        fields = parse_fields(metadata["json"]) | own
        both["json"] = json.dumps(fields, ensure_ascii=False).encode()
    return both


def caption_of(sample: Sample, field: str) -> tuple[str | None, bool]:
    """Return the caption of a sample as one line; and whether there is one that is no text.

    `field` is `txt`, the file beside the picture, or a key of its `.json`, such as `meta.alt`.
    """
    if field == "txt":
        value: Any = sample.beside.get("txt", b"").decode("utf-8-sig", "replace")
    else:
        value = parse_fields(sample.json)
        for name in [field] if field in value else field.split("."):
            value = value.get(name) if isinstance(value, dict) else None
    if value is not None and not isinstance(value, str):
        return None, True
    # JSON can contain lone surrogates, which no tokenizer takes.
    line = " ".join((value or "").encode("utf-8", "replace").decode().split())
    return line or None, False


@dataclass(frozen=True, slots=True)
class _Metadata:
    """A table of pictures: their paths below its folder, and what returns a row."""

    names: Any
    row: Callable[[int], dict[str, Any]]


def metadata_rows(folder: str, root: str, names: Sequence[str]) -> dict[str, dict[str, bytes]]:
    """Read the rows of pictures in `metadata.jsonl` or `metadata.csv`, as files by their name.

    As for the `imagefolder` of `datasets`, the table lies in the folder or in one above it, up to
    `root`, and the nearest counts.

    Raises:
        OSError: if it can't be read.
        ValueError: if it isn't JSON lines or CSV.
    """
    place = folder.rstrip("/")
    while f"{place}/".startswith(f"{root.rstrip('/')}/"):
        for table in ("metadata.jsonl", "metadata.csv"):
            url = join(place, table)
            try:
                metadata = _read_once(url, identify(url, url).version)
            except FileNotFoundError:
                continue
            below = f"{folder.rstrip('/')}/"[len(place) + 1 :]
            wanted = pa.array([printable(below + name) for name in names], pa.string())
            places = pc.index_in(wanted, metadata.names).to_pylist()
            rows = zip(names, places, strict=True)
            return {name: as_files(metadata.row(row)) for name, row in rows if row is not None}
        place = place.rpartition("/")[0]
        if not place:
            break
    return {}


@lru_cache(maxsize=1)
def _read_once(url: str, version: str) -> _Metadata:
    """Read a table that has this version. Raises OSError or ValueError."""
    del version  # only a part of the key
    try:
        return _read_lines(url) if url.endswith(".jsonl") else _read_csv(url)
    except (ValueError, pa.ArrowException) as error:
        raise ValueError(f"{url}: {error}; mend or rename it") from error


def _read_lines(url: str) -> _Metadata:
    lines = [line for line in read_bytes(url).splitlines() if line.strip()]
    json.loads(b"[%s]" % b",".join(lines))  # a broken line is an error, not a missing caption
    names = [_text(parse_fields(line).get(_FILE_NAME)) for line in lines]
    return _Metadata(
        pa.array(names, pa.string()), lambda row: _without_name(parse_fields(lines[row]))
    )


def _read_csv(url: str) -> _Metadata:
    with open_read(url) as file:
        table: Any = pyarrow.csv.read_csv(
            file,
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(column_types=_TEXTS),
        )
    names = table[_FILE_NAME].combine_chunks() if _FILE_NAME in table.schema.names else pa.array([])
    return _Metadata(
        names.cast(pa.string()), lambda row: _without_name(table.slice(row, 1).to_pylist()[0])
    )


def _without_name(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != _FILE_NAME}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
