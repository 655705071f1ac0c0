"""Training loops see the kept samples and no others, in the loaders that people use."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest
import torch
from webdataset.compat import WebDataset
from webdataset.shardlists import split_by_node

from shardsift import keep
from shardsift.config.filter_settings import FilterConfig
from shardsift.errors import InputError
from shardsift.filtering.keep_list import KeepList
from shardsift.filtering.query import curate
from tests.fakes import FakeScorer
from tests.notebooks import shown_as
from tests.outputs import write_run
from tests.samples import as_parquet, encoded, write_shards, write_tar

SHARDS, SAMPLES = 4, 6


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of two folders with equal file names, their annotations, and the better half."""
    folder = tmp_path_factory.mktemp("loading")
    for number in range(SHARDS):
        files: list[tuple[str, bytes]] = []
        for place in range(SAMPLES):
            seed = SAMPLES * number + place
            files += [(f"{place}.jpg", encoded(width=64, height=64, seed=seed))]
            files += [(f"{place}.json", json.dumps({"seed": seed}).encode())]
        write_tar(folder / "corpus" / "ab"[number // 2] / f"{number % 2:05}.tar", files)
    write_run(folder / "corpus", folder / "scores", FakeScorer())
    curate(
        FilterConfig(annotations=str(folder / "scores"), output=str(folder / "kept"), keep_top=0.5)
    )
    return folder


@pytest.fixture(scope="module")
def shards(corpus: Path) -> list[str]:
    """Locations of all shards."""
    return sorted(str(path) for path in (corpus / "corpus").rglob("*.tar"))


@pytest.fixture(scope="module")
def expected(corpus: Path) -> list[int]:
    """Seeds of the samples in the keep-list."""
    seeds: list[int] = []
    for path in sorted((corpus / "kept").rglob("*.parquet")):
        for row in pq.ParquetFile(path).read().to_pylist():
            number = 2 * "ab".index(row["shard"][0]) + int(row["shard"][2:7])
            seeds.append(SAMPLES * number + int(row["key"]))
    assert len(seeds) == SHARDS * SAMPLES // 2
    return sorted(seeds)


def seeds_of(samples: Any) -> list[int]:
    return sorted(json.loads(sample["json"])["seed"] for sample in samples)


def test_a_stage_of_webdataset(corpus: Path, shards: list[str], expected: list[int]) -> None:
    dataset = WebDataset(shards, shardshuffle=False).compose(keep(str(corpus / "kept")))
    assert seeds_of(dataset) == expected


def test_workers_of_a_data_loader(corpus: Path, shards: list[str], expected: list[int]) -> None:
    stages: Any = WebDataset(shards, shardshuffle=False, nodesplitter=split_by_node)
    dataset = stages.compose(keep(str(corpus / "kept")))
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=None, num_workers=2, multiprocessing_context="spawn"
    )
    assert seeds_of(loader) == expected


def test_the_webdataset_loader_of_datasets(
    corpus: Path, shards: list[str], expected: list[int]
) -> None:
    dataset = datasets.load_dataset(
        "webdataset", data_files=shards, split="train", streaming=True
    ).filter(keep(str(corpus / "kept")).has)
    assert sorted(row["json"]["seed"] for row in dataset) == expected


@pytest.mark.parametrize("streaming", [False, True])
def test_the_parquet_loader_of_datasets(streaming: bool, tmp_path: Path) -> None:
    files = as_parquet(write_shards(tmp_path / "tars", 3, samples=7), tmp_path / "in", rows=3)
    out = str(write_run(files, tmp_path / "out", FakeScorer()))
    curate(FilterConfig(annotations=out, output=str(tmp_path / "kept"), keep_top=0.4))
    kept = keep(str(tmp_path / "kept"))
    dataset: Any = datasets.load_dataset(
        "parquet",
        data_files=str(files / "*.parquet"),
        split="train",
        streaming=streaming,
        cache_dir=str(tmp_path / "cache"),
    )
    picked = (
        dataset.filter(kept.has_place, with_indices=True)
        if streaming
        else dataset.select(kept.places)
    )
    names = [row["name"] for row in picked]
    wanted = [f"{int(shard[:5]):03}{int(key):04}.jpg" for shard, key in kept]
    assert (names, len(names)) == (wanted, 8)


def test_places_are_only_those_of_parquet_files(corpus: Path) -> None:
    with pytest.raises(InputError, match="only rows of Parquet files have numbers"):
        keep(str(corpus / "kept")).places  # noqa: B018  # raises


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/somewhere/else/a/00001.tar",
        "pipe:aws s3 cp s3://bucket/a/00001.tar -",
        "pipe:curl -s 'https://host/a/00001.tar?versionId=7'",
        "a/00001.tar",
    ],
)
def test_a_shard_is_known_wherever_it_lies(url: str, corpus: Path) -> None:
    kept = keep(str(corpus / "kept"))
    here = str(corpus / "corpus" / "a" / "00001.tar")
    for key in map(str, range(SAMPLES)):
        there = kept.has({"__key__": key, "__url__": url})
        assert there == kept.has({"__key__": key, "__url__": here})


@pytest.mark.parametrize("url", ["/c/a/00007.tar", "00001.tar", "/c/a/00001.zip"])
def test_a_shard_that_no_filter_saw_is_refused(url: str, corpus: Path) -> None:
    with pytest.raises(InputError, match="not among the 4 shards of the keep-list"):
        keep(str(corpus / "kept")).has({"__key__": "0", "__url__": url})


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """Shards of which one has a name that another's ends with; one sample of each is kept."""
    files = [(f"{key}.jpg", encoded()) for key in "ab"]
    for name in ("000.tar", "set a/000.tar", "set a/001.tar"):
        write_tar(tmp_path / "corpus" / name, files)
    scores = write_run(tmp_path / "corpus", tmp_path / "scores", FakeScorer())
    curate(
        FilterConfig(
            annotations=str(scores),
            output=str(tmp_path / "kept"),
            keep_top=1,
            where="(key = 'b') = (shard = 'set a/000.tar')",
        )
    )
    return tmp_path


def kept_keys(kept: KeepList, url: str) -> str:
    return "".join(key for key in "ab" if kept.has({"__key__": key, "__url__": url}))


@pytest.mark.parametrize(
    "form",
    [
        "{root}/{name}",
        "file://{root}/{name}",
        "pipe:cat '{root}/{name}'",
        'pipe:cat "{root}/{name}"',
    ],
)
def test_a_shard_is_its_path_below_the_root(form: str, nested: Path) -> None:
    kept = keep(str(nested / "kept"))
    for name, keys in (("000.tar", "a"), ("set a/000.tar", "b"), ("set a/001.tar", "a")):
        assert kept_keys(kept, form.format(root=nested / "corpus", name=name)) == keys
    with pytest.raises(InputError, match="not among the 3 shards"):
        kept_keys(kept, form.format(root=nested / "corpus", name="set b/000.tar"))


def test_what_may_be_one_of_several_is_refused(nested: Path) -> None:
    kept = keep(str(nested / "kept"))
    for url in ("s3://b/set a/000.tar", "/moved/set a/000.tar", "pipe:cat '/moved/set a/000.tar'"):
        with pytest.raises(InputError, match=r"may be set a/000\.tar or 000\.tar .* shards="):
            kept_keys(kept, url)
    with pytest.raises(InputError, match="names several shards"):
        kept_keys(kept, "pipe:cat /moved/000.tar /moved/set/000.tar")
    with pytest.raises(InputError, match="names no shard"):
        kept_keys(kept, "pipe:cat /moved/000.tgz")


@pytest.mark.parametrize("root", ["s3://b/c", "s3://b/c/", "/moved/set a"])
def test_where_shards_have_moved_to_can_be_told(root: str, nested: Path) -> None:
    kept = keep(str(nested / "kept"), shards=root)
    for name, keys in (("000.tar", "a"), ("set a/000.tar", "b")):
        assert kept_keys(kept, f"{root.rstrip('/')}/{name}") == keys
    with pytest.raises(InputError, match="not among the 3 shards"):
        kept_keys(kept, str(nested / "corpus" / "000.tar"))


def test_shards_below_two_folders_are_refused(nested: Path) -> None:
    """One of them may be of another corpus, whose shards are called alike."""
    kept = keep(str(nested / "kept"))
    assert kept_keys(kept, "s3://b/set a/001.tar") == "a"
    with pytest.raises(InputError, match="isn't below the folder of the shards before, s3://b/"):
        kept_keys(kept, "s3://other/set a/001.tar")


def test_keys_that_are_not_utf_8_are_found(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    names = [b"plain", b"caf\xe9", b"\xff\xfe", "ü".encode(), b"back\\xe9"]
    files = [(os.fsdecode(name) + ".jpg", encoded(seed=n)) for n, name in enumerate(names)]
    write_tar(corpus / "0.tar", files)
    scores = write_run(corpus, tmp_path / "scores", FakeScorer())
    curate(
        FilterConfig(annotations=str(scores), output=str(tmp_path / "kept"), keep_count=len(names))
    )
    dataset = WebDataset([str(corpus / "0.tar")], shardshuffle=False)
    samples = list(dataset.compose(keep(str(tmp_path / "kept"))))
    assert [os.fsencode(sample["__key__"]) for sample in samples] == names


def test_of_a_shard_that_was_given_up_nothing_is_kept(corpus: Path, tmp_path: Path) -> None:
    scores = tmp_path / "scores"
    shutil.copytree(corpus / "scores", scores)
    (scores / "a" / "00001.parquet").unlink()
    settings = FilterConfig(
        annotations=str(scores), output=str(tmp_path / "kept"), keep_top=1, allow_missing=True
    )
    curate(settings)
    kept = keep(str(tmp_path / "kept"))
    assert not kept.has({"__key__": "0", "__url__": "/c/a/00001.tar"})
    assert kept.has({"__key__": "0", "__url__": "/c/a/00000.tar"})


def test_it_survives_the_way_to_a_worker(corpus: Path, shards: list[str]) -> None:
    kept = keep(str(corpus / "kept"))
    samples = [{"__key__": str(n), "__url__": shards[0]} for n in range(SAMPLES)]
    before = [kept.has(sample) for sample in samples]
    assert [pickle.loads(pickle.dumps(kept)).has(sample) for sample in samples] == before  # noqa: S301


def test_a_sample_without_a_shard_is_refused(corpus: Path) -> None:
    with pytest.raises(InputError, match="include_paths=True"):
        keep(str(corpus / "kept")).has({"__key__": "0"})


def test_a_folder_that_is_no_finished_filter_is_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished filter here"):
        keep(str(tmp_path))
    with pytest.raises(InputError, match="no finished filter here"):
        keep(str(corpus / "scores"))
    for name in ("_summary.json", "_filter.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(InputError, match="not the output of a filter"):
        keep(str(tmp_path))


def test_it_can_be_counted_and_gone_through(corpus: Path) -> None:
    kept = keep(str(corpus / "kept"))
    assert len(kept) == 12
    assert kept.counts["rows"] == 24
    assert kept.counts["below_threshold"] == 12
    pairs = list(kept)
    assert len(pairs) == len(set(pairs)) == 12
    assert pairs == sorted(pairs, key=lambda pair: pair[0])
    assert all(kept.has({"__key__": key, "__url__": f"corpus/{shard}"}) for shard, key in pairs)


def test_it_shows_itself_in_a_line_and_as_a_table(corpus: Path) -> None:
    kept = keep(str(corpus / "kept"))
    url = str(corpus / "kept")
    assert repr(kept) == f"KeepList({url!r}: 12 of 24 samples, in 4 shards)"
    assert "<th>kept</th><td>12</td><td>50.0%</td>" in shown_as("html", kept)
