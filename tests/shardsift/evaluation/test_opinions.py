"""Ratings are numbers of samples that `score` reads; samples without one are counted."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardsift.errors import InputError
from shardsift.evaluation.opinions import RatedShards
from shardsift.images.decode import decode_rgb
from shardsift.shards.plan import plan_shards
from shardsift.shards.tar_samples import read_tar
from tests.samples import File, encoded, write_tar


def rated(tmp_path: Path, files: list[File], suffix: str = "") -> tuple[list[str], Counter[str]]:
    """Keys and ratings of the rated samples of a shard, and counts of skipped ones."""
    path = write_tar(tmp_path / "0.tar", files)
    if suffix == ".gz":
        path.write_bytes(gzip.compress(path.read_bytes()))
    return ratings_of(path)


def ratings_of(path: Path) -> tuple[list[str], Counter[str]]:
    """Keys and ratings of the rated samples of a corpus, and counts of skipped ones."""
    skipped: Counter[str] = Counter()
    shards = RatedShards(
        tasks=list(plan_shards([str(path)])),
        mos_field="mos",
        decode=lambda data: decode_rgb(data, 10**6),
        baselines={},
    )
    return [f"{image.key} {image.opinion:g}" for image in shards.images(skipped)], skipped


@pytest.mark.parametrize(
    "opinion",
    ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "9" * 400, "true", "null", "[4]"],
)
def test_what_is_no_finite_number_is_no_opinion(opinion: str, tmp_path: Path) -> None:
    files = [
        *(("a.png", encoded("PNG")), ("a.json", f'{{"mos": {opinion}}}'.encode())),
        *(("b.png", encoded("PNG")), ("b.json", b'{"mos": 3}')),
    ]
    assert rated(tmp_path, files) == (["b 3"], Counter(no_opinion=1))


def test_an_opinion_that_is_text_is_told(tmp_path: Path) -> None:
    files = [("a.png", encoded("PNG")), ("a.json", b'{"mos": "4.5"}')]
    assert rated(tmp_path, files) == ([], Counter(opinion_is_text=1))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_samples_are_those_that_score_reads(suffix: str, tmp_path: Path) -> None:
    image = encoded("PNG")
    files = [
        *(("IMG.2020.png", image), ("IMG.JSON", b'{"mos": 1}')),
        *(("__meta__/x.json", b"no JSON"), ("x/.b.png", image), ("x/.json", b'{"mos": 7}')),
        *(("c.png", image), ("c.json", b"{broken"), ("d.png", image), ("d.json", b"[1]")),
        *(("e.png", image), ("e.json", b'{"mos": 2}'), ("e.json", b'{"mos": 3}')),
    ]
    found, skipped = rated(tmp_path, files, suffix)
    assert found == ["IMG 1", "x/ 7", "e 2"]
    scored = [sample.key for sample in read_tar(str(tmp_path / "0.tar"))]
    assert len(scored) == len(found) + skipped.total()


def test_samples_of_another_protocol_do_not_count(tmp_path: Path) -> None:
    files = [
        *(("a.png", encoded("PNG")), ("a.json", b'{"mos": 1, "only_protocol": "paper"}')),
        *(("b.png", encoded("PNG")), ("b.json", b'{"mos": 3}')),
    ]
    assert rated(tmp_path, files) == (["b 3"], Counter(other_protocol=1))


def test_ratings_are_read_from_parquet_and_from_a_table_of_a_folder(tmp_path: Path) -> None:
    pictures = [encoded(seed=seed) for seed in range(3)]
    rows, folder = tmp_path / "rows", tmp_path / "folder"
    rows.mkdir()
    pq.write_table(pa.table({"jpg": pictures, "mos": [1.5, None, 3]}), rows / "a.parquet")
    (folder / "sub").mkdir(parents=True)
    for number, data in enumerate(pictures):
        (folder / "sub" / f"{number}.jpg").write_bytes(data)
    (folder / "metadata.csv").write_text("file_name,mos\nsub/0.jpg,1.5\nsub/2.jpg,3\n")
    for place, keys in ((rows, ("0", "2")), (folder, ("sub/0.jpg", "sub/2.jpg"))):
        found, skipped = ratings_of(place)
        assert found == [f"{keys[0]} 1.5", f"{keys[1]} 3"]
        assert skipped == Counter(no_opinion=1)


def test_a_folder_without_ratings_names_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded())
    (tmp_path / "metadata.csv").write_text("file_name,mso\na.jpg,1\n")
    with pytest.raises(InputError, match="no row or file beside a picture has 'mos'; did you mean"):
        ratings_of(tmp_path)
