"""Rows of Parquet files are samples; a row without one picture gets a reason."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardsift.errors import InputError, ShardError
from shardsift.reading import Reading
from shardsift.records import Sample, ShardTask
from shardsift.shards.plan import plan_shards
from shardsift.shards.readers import read_file, read_samples
from tests.samples import encoded

JPEG, PNG = encoded(seed=1), encoded("PNG", seed=2)
FILE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def written(path: Path, columns: dict[str, Any], rows: int = 1000) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=rows)
    return path


def samples_of(path: Path, **reading: Any) -> list[Sample]:
    task = ShardTask(url=str(path), shard=path.name, annotation="", reading=Reading(**reading))
    return list(read_samples(task, size=path.stat().st_size))


@pytest.mark.parametrize("rows", [1, 7, None])
def test_what_datasets_writes_is_read_row_by_row(rows: int | None, tmp_path: Path) -> None:
    pictures = [encoded(seed=seed) for seed in range(20)]
    features = datasets.Features({"audio": FEATURE, "image": datasets.Image()})
    table = [{"audio": None, "image": {"bytes": data, "path": None}} for data in pictures]
    path = tmp_path / "a.parquet"
    datasets.Dataset.from_list(table, features=features).to_parquet(str(path), batch_size=rows)
    found = samples_of(path)
    assert [sample.image and sample.image.data for sample in found] == pictures
    assert [sample.key for sample in found] == [str(number) for number in range(20)]
    assert [sample.index for sample in found] == list(range(20))
    assert found[-1].reached == path.stat().st_size


FEATURE = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
"""Sound has the columns of a picture, too."""


def test_a_row_without_one_picture_gets_a_reason(tmp_path: Path) -> None:
    rows = [{"bytes": JPEG, "path": "a.jpg"}, None, {"bytes": None, "path": "b.jpg"}]
    rows += [{"bytes": None, "path": None}]
    found = samples_of(written(tmp_path / "a.parquet", {"image": pa.array(rows, FILE)}))
    problems = [sample.problem and (sample.problem.code, str(sample.problem)) for sample in found]
    assert problems == [
        None,
        ("missing_image", "the row has no picture"),
        ("missing_image", "the row has the path 'b.jpg' of a picture, and no bytes"),
        ("missing_image", "the row has no picture"),
    ]


def test_rows_of_several_pictures_get_a_reason(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", {"images": pa.array([[JPEG, PNG], [JPEG]])})
    found = samples_of(path)
    assert [sample.problem and sample.problem.code for sample in found] == [
        "unsupported_format",
        "unsupported_format",
    ]
    with pytest.raises(InputError, match=r"a\.parquet: the column images holds list.* not one"):
        plan_shards([str(path)]).check_found()


def test_keys_and_uids_come_from_columns(tmp_path: Path) -> None:
    columns = {"png": [PNG, PNG], "name": ["x/1", None], "uid": ["u1", None], "sha256": ["s", "t"]}
    path = written(tmp_path / "a.parquet", columns)
    assert [(s.key, s.uid) for s in samples_of(path, key="name")] == [("x/1", "u1"), ("1", "t")]
    image = samples_of(path)[0].image
    assert image is not None
    assert (image.extension, image.offset, image.size) == ("png", None, len(PNG))


@pytest.mark.parametrize(
    ("columns", "reading", "told"),
    [
        ({"a": [b"1"], "b": [b"2"]}, {}, "pictures in several columns: a, b; choose one with --im"),
        ({"url": ["http://x"]}, {}, "no column of pictures, there are url; .* img2dataset does"),
        ({"jpg": [b"1"]}, {"image": "jgp"}, "no column jgp for --image; did you mean jpg?"),
        ({"jpg": [b"1"]}, {"key": "jpg"}, "--key jpg: is binary; name text or whole numbers"),
        ({"jpg": [b"1"]}, {"key": "name"}, "no column name for --key; there are jpg"),
        ({"jpg": ["1"]}, {"image": "jpg"}, "the column jpg holds string, not one picture a row"),
    ],
)
def test_columns_that_cant_be_meant_are_one_line(
    columns: dict[str, Any], reading: dict[str, Any], told: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.parquet", columns)
    with pytest.raises(InputError, match=rf"a\.parquet: .*{told}"):
        plan_shards([str(path)], Reading(**reading)).check_found()


def test_a_file_that_isnt_whole_fails_its_shard(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", {"jpg": [JPEG] * 40}, rows=10)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ShardError, match=r"a\.parquet: not readable Parquet: "):
        samples_of(path)


def test_a_row_group_of_any_size_takes_little_memory(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(1 << 18)  # a page has up to 1,024 of these
    path = written(
        tmp_path / "a.parquet", {"jpg": [noise[n:][:8000] for n in range(20_000)]}, 10**6
    )
    pool = pa.default_memory_pool()
    before, most = pool.bytes_allocated(), 0
    task = ShardTask(url=str(path), shard="a.parquet", annotation="")
    for _ in read_samples(task):
        most = max(most, pool.bytes_allocated() - before)
    assert most < 40 << 20, "the row group has 160 MB"


def test_the_picture_of_a_row_is_found_again(tmp_path: Path) -> None:
    pictures = [encoded(seed=seed) for seed in range(30)]
    written(tmp_path / "a.parquet", {"jpg": pictures}, rows=7)
    row = {"shard": "a.parquet", "index": 23}
    assert read_file(str(tmp_path), row, Reading(kind="parquet")) == pictures[23]


def test_further_pages_are_counted(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", {"jpg": [JPEG]})
    counts = Counter[str]()
    list(read_samples(ShardTask(url=str(path), shard="a.parquet", annotation=""), counts))
    assert not +counts
