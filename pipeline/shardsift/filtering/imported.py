"""Parquet of others with the columns of annotations, such as a copy that DuckDB has written."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from shardsift.config import ATTRIBUTE_PREFIX
from shardsift.errors import InputError
from shardsift.filtering.database import Database, QueryError, equal_runs, quoted
from shardsift.filtering.joined_tables import find_files, is_parquet, reading
from shardsift.measures import (
    MACLIP,
    MACLIP_COLUMNS,
    AttributesMeasure,
    Contents,
    MeasureRecord,
)
from shardsift.outputs.annotation_encoder import AnnotationEncoder
from shardsift.outputs.output_folder import (
    RUN_RECORD,
    AnnotationSet,
    OutputFolder,
    read_annotation_set,
)
from shardsift.outputs.sealed_table import read_metadata, schema_of
from shardsift.records import ShardIdentity
from shardsift.redaction import reason
from shardsift.shards.names import annotation_name, check_file, check_folder
from shardsift.storage.files import SHARD_SUFFIXES, join, list_files, located
from shardsift.storage.local import make_scratch, naming_scratch

_NEEDED = ("shard", "index", "key", "quality")


def is_plain(url: str) -> bool:
    """Return whether this is Parquet of another program: a file, a glob, or a folder without our
    records."""
    if is_parquet(url):
        return True
    names = list_files(url)
    first = min((n for n in names if is_parquet(n) and not n.startswith("_")), default=None)
    if RUN_RECORD in names or first is None:
        return False
    return "measures" not in read_metadata(join(url, first))


@contextmanager
def imported(url: str) -> Generator[AnnotationSet]:
    """Sort the rows of Parquet files by shard and index into annotations, in a scratch folder.

    Columns that are missing are null. Raises InputError if the files aren't annotations.
    """
    files, reader = find_files(url)
    places = [located(file) for file in files]
    with make_scratch() as scratch, Database(places) as database:
        source = reading(reader, places)
        try:
            described = database.run(f"DESCRIBE SELECT * FROM {source}")
            names = [str(name) for name, *_ in described]
            if lacking := [name for name in _NEEDED if name not in names]:
                raise InputError(f"{url}: has no column {lacking[0]}, as annotations have")
            nameless = (
                "shard IS NULL OR key IS NULL OR index IS NULL OR index NOT BETWEEN 0 AND 1e9"
            )
            ((rows,),) = database.run(f"SELECT count(*) FROM {source} WHERE {nameless}")
            if rows:
                raise InputError(f"{url}: has {rows:,} rows without a shard, an index or a key")
            attributes = [n for n in names if n.startswith(ATTRIBUTE_PREFIX)]
            prompts = {n.removeprefix(ATTRIBUTE_PREFIX): (("?", "-"),) for n in attributes}
            scored = MeasureRecord(digest="unknown", columns=MACLIP_COLUMNS, needs=())
            asked = AttributesMeasure(prompts, "unknown").record
            contents = Contents(measures={MACLIP: scored, "attributes": asked})
            given = {name: quoted(name) for name in names}
            score = "CASE WHEN isfinite(quality) THEN quality END"
            code = "coalesce(error, 'unknown')" if "error" in names else "'unknown'"
            given["error"] = f"CASE WHEN ({score}) IS NULL THEN {code} END"
            given["quality"] = score
            columns = [f"{given.get(n, 'NULL')} AS {quoted(n)}" for n in schema_of(contents).names]
            query = f"SELECT {', '.join(columns)} FROM {source}"
            batches = database.batches(f"{query} ORDER BY shard, index")
            for shard, table in equal_runs(batches, "shard"):
                if not str(shard).endswith(SHARD_SUFFIXES):
                    raise InputError(
                        f"{url}: {shard!r} is not a shard's name, which ends in .tar, .parquet or "
                        ".pictures"
                    )
                folder, _, name = f"/{shard}".rpartition("/")
                check_folder(folder)  # else a path might lead out of the scratch folder
                check_file(name)
                if (np.diff(table["index"].to_numpy()) <= 0).any():
                    raise InputError(f"{url}: has one index of {shard} twice")
                identity = ShardIdentity(path=shard, size=0, version="")
                encoder = AnnotationEncoder(identity, contents)
                encoder.add_table(table.cast(schema_of(contents)))
                path = Path(scratch) / annotation_name(shard)
                with naming_scratch():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(encoder.finish().annotation)
        except (QueryError, pa.ArrowException, ValueError) as error:
            raise InputError(f"{url}: can't be read as annotations: {reason(error)}") from error
        output = OutputFolder(scratch)
        if not output.committed:
            raise InputError(f"{url}: holds no rows")
        output.url = url  # the name for errors
        yield replace(read_annotation_set(output, allow_missing=True), is_finished=True)
