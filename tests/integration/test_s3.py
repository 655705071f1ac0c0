"""Shards and annotations in a bucket."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
import s3fs

from shardsift import keep
from shardsift.cli.console import PlainConsole
from shardsift.config import RunConfig
from shardsift.config.filter_settings import FilterConfig
from shardsift.config.verb_settings import ExportConfig
from shardsift.errors import InputError
from shardsift.exporting.export import export
from shardsift.filtering.query import curate
from shardsift.outputs.sealed_table import read
from shardsift.records import ShardIdentity
from shardsift.runs.score_run import score
from shardsift.shards.plan import plan_shards
from shardsift.storage.files import identify, read_range
from shardsift.verification.outputs import claim_output, verify
from tests.fakes import load_fake
from tests.generated import Quality, write_annotations
from tests.samples import as_pictures, write_shards
from tests.shardsift.resharding.corpora import plain_corpus


@pytest.fixture(scope="module", autouse=True)
def _ray(s3: s3fs.S3FileSystem) -> Iterator[None]:
    """A cluster whose workers know where the bucket is."""
    ray.shutdown()  # another module may have left its own
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def shards(s3: s3fs.S3FileSystem, tmp_path: Path) -> str:
    for path in write_shards(tmp_path, 3, samples=2).glob("*.tar"):
        s3.pipe_file(f"corpus/train/{path.name}", path.read_bytes())
    return "s3://corpus/train"


def run(**settings: Any) -> str:
    said = io.StringIO()
    values = settings | {"gpus_per_actor": 0, "actors": 1}
    score(RunConfig.model_validate(values), PlainConsole(file=said, width=500), load_fake)
    return said.getvalue()


def as_file(columns: dict[str, Any]) -> bytes:
    """A Parquet file."""
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def test_a_bucket_is_scored_and_a_second_run_has_nothing_to_do(
    s3: s3fs.S3FileSystem, shards: str
) -> None:
    places = {"shards": [f"{shards}/*.tar"], "output": "s3://corpus/scores", "embeddings": "maclip"}
    run(**places)
    assert read("s3://corpus/scores/00001.parquet").num_rows == 2
    assert len(s3.ls("corpus/scores/_embeddings/maclip")) == 3
    assert verify(claim_output("s3://corpus/scores")).problems == []
    assert json.loads(s3.cat_file("corpus/scores/_summary.json"))["rows"] == 6
    assert "nothing to do" in run(**places)


def test_a_folder_of_pictures_in_a_bucket_is_scored(s3: s3fs.S3FileSystem, tmp_path: Path) -> None:
    files = as_pictures(write_shards(tmp_path / "tars", 2, samples=3), tmp_path / "pictures")
    s3.put(str(files), "corpus/", recursive=True)
    run(shards=["s3://corpus/pictures"], output="s3://corpus/picture-scores")
    assert json.loads(s3.cat_file("corpus/picture-scores/_summary.json"))["scored"] == 6
    assert verify(claim_output("s3://corpus/picture-scores"), recount=True).problems == []


def test_identity_in_a_bucket_is_the_etag(s3: s3fs.S3FileSystem, shards: str) -> None:
    task = next(iter(plan_shards([shards])))
    info: Any = s3.info("corpus/train/00000.tar")
    expected = ShardIdentity(path="00000.tar", size=info["size"], version=info["ETag"])
    assert identify(task.url, task.shard) == expected


def test_some_bytes_of_a_shard_are_read_without_the_rest(
    s3: s3fs.S3FileSystem, shards: str
) -> None:
    whole = s3.cat_file(f"{shards}/00000.tar")
    assert read_range(f"{shards}/00000.tar", 700, 40) == whole[700:740]


def test_a_filter_reads_a_bucket_and_writes_one(s3: s3fs.S3FileSystem, tmp_path: Path) -> None:
    shards: dict[str, list[Quality]] = {"a/0.tar": [0.1, 0.9, 0.5], "b/0.tar": [0.7]}
    write_annotations(tmp_path, shards)
    for path in tmp_path.rglob("*.*"):
        s3.pipe_file(f"corpus/filter/scores/{path.relative_to(tmp_path)}", path.read_bytes())
    rule = {
        "annotations": "s3://corpus/filter/scores",
        "output": "s3://corpus/filter/kept",
        "keep_top": 0.5,
    }
    with pytest.raises(InputError, match="passes where"):
        curate(FilterConfig.model_validate(rule | {"where": "width > 9999"}))
    assert not [name for name in s3.find("corpus") if name.startswith("corpus/filter/kept/")]
    curate(FilterConfig.model_validate(rule | {"where": "width >= 100", "emit": "keep-list,uids"}))
    assert sorted(s3.find("corpus/filter/kept")) == [
        f"corpus/filter/kept/{name}"
        for name in (
            *("_filter.json", "_summary.json", "keep-list/a/0.parquet", "keep-list/b/0.parquet"),
            "uids.npy",
        )
    ]
    kept = keep("s3://corpus/filter/kept")
    urls = {"k0": "s3://corpus/train/b/0.tar", "k1": "s3://corpus/train/a/0.tar"}
    assert all(kept.has({"__key__": key, "__url__": url}) for key, url in urls.items())
    assert not kept.has({"__key__": "k0", "__url__": urls["k1"]})


def test_tables_lie_in_a_bucket_too(s3: s3fs.S3FileSystem, tmp_path: Path) -> None:
    scores = write_annotations(tmp_path, {"0.tar": [n / 8 for n in range(8)]})
    for place in range(2):
        keys = [f"k{n}" for n in range(4 * place, 4 * place + 4)]
        data = as_file({"key": keys, "aes": [float(place)] * 4})
        s3.pipe_file(f"corpus/tables/{place}.parquet", data)
    s3.pipe_file("corpus/takedowns.csv", b"key\nk6\nk7\n")
    for table in ("s3://corpus/tables", "s3://corpus/tables/[01].parquet"):
        rule = {"annotations": str(scores), "join": table, "where": "aes > 0", "keep_top": 1}
        rule |= {"exclude": "s3://corpus/takedowns.csv", "dry_run": True}
        found = curate(FilterConfig.model_validate(rule))
        assert (
            found.summary.kept,
            found.summary.excluded_by_list,
            found.summary.excluded_by_where,
        ) == (2, 2, 4)
        assert [(match.rows, match.table_rows) for match in found.summary.joined] == [
            (8, 8),
            (2, 2),
        ]


def test_scores_are_exported_from_a_bucket_into_one(s3: s3fs.S3FileSystem, tmp_path: Path) -> None:
    scores = write_annotations(tmp_path, {"0.tar": [n / 8 for n in range(8)]})
    s3.put(str(scores), "corpus/some-scores", recursive=True)
    s3.pipe_file("corpus/mine/x.parquet", as_file({"key": ["k3", "k9", "k1"]}))
    given = {"annotations": "s3://corpus/some-scores"}
    into = {"into": "s3://corpus/mine", "output": "s3://corpus/mine-with-scores"}
    assert export(ExportConfig.model_validate(given | into)).matched == 2
    with s3.open("corpus/mine-with-scores/x.parquet") as file:
        assert pq.read_table(file)["quality"].to_pylist() == [3 / 8, None, 1 / 8]
    table = {"to": "csv", "output": "s3://corpus/all.csv", "columns": "key"}
    export(ExportConfig.model_validate(given | table))
    assert s3.cat_file("corpus/all.csv").split()[:2] == [b'"key"', b'"k0"']


def test_a_clean_corpus_is_read_by_range_and_written_into_a_bucket(
    s3: s3fs.S3FileSystem, tmp_path: Path
) -> None:
    corpus = plain_corpus(tmp_path, shards=2, samples=12, keep_top=0.3)
    corpus.reshard(samples_per_shard=4)
    s3.put(str(corpus.shards), "corpus/raw", recursive=True)
    corpus.reshard(shards=["s3://corpus/raw"], output="s3://corpus/clean", samples_per_shard=4)
    names = sorted(path.name for path in corpus.out.glob("*.tar"))
    assert names
    for name in names:
        assert s3.cat_file(f"corpus/clean/{name}") == (corpus.out / name).read_bytes()
    assert json.loads(s3.cat_file("corpus/clean/sizes.json")).keys() == set(names)
