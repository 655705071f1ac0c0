"""The file format that other people's code reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardsift.columns import COLUMNS
from shardsift.errors import AnnotationError, ErrorCode
from shardsift.outputs.sealed_table import SCHEMA, read, read_footer
from shardsift.records import ShardIdentity
from shardsift.storage.files import commit
from tests.generated import Annotation, contents, encode

SHARD = ShardIdentity(path="a/00000.tar", size=10240, version="etag-1")


def scored_row(index: int, quality: float = 0.5) -> Annotation:
    place = {"tar_offset": 512, "tar_size": 1000, "width": 640, "height": 480}
    cues = dict.fromkeys(("quality", "q_sim", "q_mag", "w_sim"), quality)
    spread = {"crops": 2, "quality_min": quality / 2, "quality_std": 0.2}
    fields: dict[str, Any] = {**place, **cues, **spread}
    return Annotation(key=f"key{index}", index=index, uid="u", image_ext="jpg", **fields)


def bad_row(index: int) -> Annotation:
    error, message = ErrorCode.DECODE_ERROR, "what was wrong"
    return Annotation(key=f"key{index}", index=index, error=error, error_message=message)


def annotation_file(folder: Path, rows: list[Annotation]) -> str:
    url = str(folder / "00000.parquet")
    config = {"model": "RN50"}
    commit(url, encode(rows, shard=SHARD, holding=contents("f" * 16, config)))
    return url


def test_columns_have_the_published_names_and_types() -> None:
    label = pa.dictionary(pa.int32(), pa.string())
    assert SCHEMA.names == [column.name for column in COLUMNS]
    assert {field.name: field.type for field in SCHEMA} == {
        "key": pa.string(),
        "shard": label,
        "index": pa.int32(),
        "uid": pa.string(),
        "image_ext": label,
        "tar_offset": pa.int64(),
        "tar_size": pa.int32(),
        "width": pa.int32(),
        "height": pa.int32(),
        "crops": pa.int16(),
        "quality": pa.float32(),
        "q_sim": pa.float32(),
        "q_mag": pa.float32(),
        "w_sim": pa.float32(),
        "quality_min": pa.float32(),
        "quality_std": pa.float32(),
        "sha256": pa.binary(32),
        "phash": pa.uint64(),
        "error": label,
        "error_message": pa.string(),
    }


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    good, bad = read(annotation_file(tmp_path, [scored_row(0, 0.8), bad_row(1)])).to_pylist()
    assert (good["key"], good["shard"], good["index"]) == ("key0", "a/00000.tar", 0)
    assert (good["quality"], good["quality_min"]) == (pytest.approx(0.8), pytest.approx(0.4))
    assert (good["quality_std"], good["crops"]) == (pytest.approx(0.2), 2)
    assert (bad["error"], bad["quality"], bad["crops"]) == ("decode_error", None, None)
    assert bad["error_message"] == "what was wrong"


def test_the_footer_says_how_the_rows_came_about(tmp_path: Path) -> None:
    footer = read_footer(annotation_file(tmp_path, [scored_row(0), bad_row(1)]))
    assert footer.contents.fingerprint == "f" * 16
    assert footer.contents.config == {"model": "RN50"}
    assert footer.shard == SHARD
    assert (footer.report.rows, footer.report.errors) == (2, {"decode_error": 1})


def test_metadata_has_the_published_names(tmp_path: Path) -> None:
    metadata = pq.read_schema(annotation_file(tmp_path, [scored_row(0)])).metadata
    names = ["fingerprint", "config", "shard", "rows", "errors", "sketch", "version"]
    assert {f"shardsift.{name}".encode() for name in names} <= metadata.keys()
    assert json.loads(metadata[b"shardsift.shard"])["path"] == "a/00000.tar"


def test_layout_suits_readers_of_few_columns(tmp_path: Path) -> None:
    parquet = pq.ParquetFile(annotation_file(tmp_path, [scored_row(0)] * 70_000))
    assert parquet.num_row_groups == 2
    column = parquet.metadata.row_group(0).column(SCHEMA.get_field_index("quality"))
    assert column.compression == "ZSTD"
    assert column.has_column_index
    assert column.statistics.has_min_max


def test_an_image_of_2_gib_has_no_size(tmp_path: Path) -> None:
    row = bad_row(0)
    row.tar_size = 2**31
    assert read(annotation_file(tmp_path, [row])).to_pylist()[0]["tar_size"] is None


@pytest.mark.parametrize("content", [b"", b"no parquet", b"PAR1" * 9])
def test_a_file_that_is_none_of_ours_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "odd.parquet"
    path.write_bytes(content)
    for read_it in (read, read_footer):
        with pytest.raises(AnnotationError, match=r"odd\.parquet"):
            read_it(str(path))


def test_somebody_elses_parquet_has_no_footer_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "theirs.parquet"
    pq.write_table(pa.table({"caption": ["a cat"]}), path)
    with pytest.raises(AnnotationError, match="not an annotation file of Shardsift"):
        read_footer(str(path))
