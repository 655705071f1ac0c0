"""The documentation's Python and SQL run, and give the documented results.

Those with Ray run in `integration/test_ray_data.py`.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardsift import Scorer, annotate_shards
from shardsift.cli.app import main
from shardsift.config.filter_settings import FilterConfig
from shardsift.filtering.query import curate
from tests.documentation import BLOCKS, PAGES, blocks_of
from tests.fakes import FakeScorer
from tests.generated import row, write_annotations
from tests.outputs import write_run
from tests.samples import as_parquet, picture, write_shards
from tests.shardsift.resharding.corpora import plain_corpus

README = "README.md"
CLIP = "docs/how-to/clip.md"
COLUMNS = "docs/how-to/columns.md"
EXPORT = "docs/how-to/export.md"
FILES = "docs/reference/files.md"
LOADERS = "docs/how-to/loaders.md"
PYTHON = "docs/how-to/python.md"
QUERY = "docs/how-to/query.md"
RESHARD = "docs/how-to/reshard.md"

FILTERS = re.findall(r"^\| [^|]+ \| `(--[^`]+)`", PAGES[CLIP], re.MULTILINE)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(block: str, **names: Any) -> dict[str, Any]:
    """Run a block; the names it leaves behind."""
    exec(block, names)
    return names


def keep_half(annotations: str = "corpus-scores") -> None:
    rule = {"annotations": annotations, "output": "corpus-kept", "keep_top": 0.5}
    curate(FilterConfig.model_validate(rule))


def test_no_page_has_examples_that_are_not_run() -> None:
    pages = {block.page for block in BLOCKS if block.language in ("python", "sql")}
    assert pages == {README, CLIP, COLUMNS, EXPORT, FILES, LOADERS, PYTHON, QUERY, RESHARD}


def test_pictures_and_shards_are_scored_from_python() -> None:
    picture().save("a.jpg")
    picture(seed=1).save("b.png")
    write_shards(Path("corpus"), shards=2, samples=1)
    first, features, shards, measure, _, with_ray = blocks_of(PYTHON, "python")
    assert "shardsift.score(" in first
    assert "import ray" in with_ray
    for block in blocks_of(README, "python"):
        printed: list[Any] = []
        run(block, print=printed.append)
        assert [str(one).startswith("ImageScore(quality=0.") for one in printed] == [True]
    idea: list[Any] = []
    run(features, print=idea.append)
    assert np.isfinite(idea).all()
    outcomes: list[Any] = []
    run(shards, print=outcomes.append)
    assert [outcome.rows for outcome in outcomes] == [1, 1]
    own = run(measure)["Brightness"]()
    annotate_shards("corpus", FakeScorer(), "own", measures=[own])
    assert 0 < pq.read_table("own")["brightness"][0].as_py() < 255


def test_a_scorer_is_a_function_for_map_of_hugging_face() -> None:
    Path("photos").mkdir()
    for number in range(3):
        picture(seed=number).save(f"photos/{number}.png")
    (block,) = (block for block in blocks_of(PYTHON, "python") if "import datasets" in block)
    names = run(block)
    expected = [score.quality for score in Scorer("compact").score(Path("photos").glob("*"))]
    assert sorted(names["scored"]["quality"]) == pytest.approx(sorted(expected), abs=1e-6)
    Path("photos/broken.png").write_bytes(b"nothing")
    datasets = names["datasets"]
    photos = datasets.load_dataset("imagefolder", data_dir="photos", split="train")
    files = photos.cast_column("image", datasets.Image(decode=False))
    scored = files.map(Scorer("compact"), batched=True, fn_kwargs={"errors": "return"})
    assert sorted(map(str, scored["error"])) == ["None", "None", "None", "unsupported_format"]


def test_embeddings_are_read_and_in_the_way_of_no_table() -> None:
    class Embedding(FakeScorer):
        embedding_values = 4

    write_run(write_shards(Path("corpus"), 2, 3), Path("corpus-scores"), Embedding())
    (by_reader,) = blocks_of(COLUMNS, "python")
    assert run(by_reader)["embeddings"].shape == (6, 4)
    (by_numpy,) = blocks_of(CLIP, "python")
    assert run(by_numpy.replace("_embeddings/clip/00012", "_embeddings/maclip/00000"))["unit"].any()
    (some_columns,) = blocks_of(QUERY, "python")
    assert run(some_columns)["table"].num_rows == 6


def test_the_digest_is_that_of_the_files() -> None:
    write_run(write_shards(Path("corpus"), 1, 3), Path("corpus-scores"), FakeScorer())
    (recipe,) = blocks_of(FILES, "python")
    run(recipe)


def test_scores_in_the_corpus_are_columns_for_hugging_face() -> None:
    as_parquet(write_shards(Path("tars"), 2, 3), Path("data"))
    write_run(Path("data"), Path("row-scores"), FakeScorer())
    assert main(["export", "row-scores", "--into", "data", "--output", "data-with-scores"]) == 0
    (block,) = blocks_of(EXPORT, "python")
    names = run(block)
    expected = [value for value in names["rows"]["quality"] if value > 0.3]
    assert names["good"]["quality"] == expected


def test_the_queries_for_duckdb_run() -> None:
    write_annotations(Path("corpus-scores"), {"a/0.tar": [0.11, 0.12, 0.9], "b.tar": [0.5]})
    keep_half()
    captions = {"uid": [f"{n:032x}" for n in range(3)], "text": ["one", "two", "three"]}
    pq.write_table(pa.table(captions), "captions.parquet")
    histogram, worst, captioned, in_readme = [
        duckdb.connect().execute(block).fetchall()
        for block in [*blocks_of(QUERY, "sql"), *blocks_of(README, "sql")]
    ]
    assert [count for _, count in histogram] == [2, 1, 1]
    assert histogram == in_readme
    assert [key for _, key, *_ in worst] == ["k0", "k1", "k0", "k2"]
    assert [(round(quality, 3), text) for _, quality, text in captioned] == [
        (0.9, "three"),
        (0.5, "one"),
    ]


def test_loaders_see_what_is_kept() -> None:
    folder = write_shards(Path("corpus").absolute(), shards=2, samples=4)
    write_run(folder, Path("corpus-scores"), FakeScorer())
    keep_half()
    with_webdataset, with_datasets, _, with_ray = blocks_of(LOADERS, "python")
    assert "import ray" in with_ray
    names = run(with_webdataset, shards=[str(path) for path in sorted(folder.glob("*.tar"))])
    seen = [(sample["__url__"], sample["__key__"]) for sample in names["dataset"]]
    names = run(with_datasets, **names)
    assert [(sample["__url__"], sample["__key__"]) for sample in names["dataset"]] == seen
    assert len(seen) == 4


def test_the_loader_of_a_clean_corpus_sees_pictures_and_scores(tmp_path: Path) -> None:
    corpus = plain_corpus(tmp_path)
    corpus.reshard()
    (loader,) = blocks_of(RESHARD, "python")
    names = run(loader, tars=[str(path) for path in sorted(corpus.out.glob("*.tar"))])
    samples = list(names["clean"])
    assert len(samples) == len(corpus.kept_keys())
    assert all(image.width == fields["width"] for image, fields in samples)
    assert all(0 < fields["quality"] < 1 for _, fields in samples)


@pytest.mark.parametrize("words", FILTERS, ids=lambda words: words[:30])
def test_filters_in_datacomp_s_manner_run(words: str) -> None:
    rows = [row(n, 0.5 + n / 20, phash=n // 2) for n in range(8)]
    write_annotations(Path("scores"), {"a.tar": rows})
    metadata = {
        "uid": [f"{n:032x}" for n in range(8)],
        "text": ["a dog in the park"] * 8,
        "language": ["en"] * 7 + ["de"],
        "original_width": [640] * 8,
        "original_height": [480] * 8,
        "clip_l14_similarity_score": [0.2 + n / 50 for n in range(8)],
        "near_imagenet": [True] * 4 + [False] * 4,
        "cluster": [0, 0, 1, 1, 2, 2, 3, 3],
    }
    for name in ("metadata", "clusters"):
        pq.write_table(pa.table(metadata), f"{name}.parquet")
    arguments = shlex.split(words)
    if "cluster" in words and "--join" not in words:
        arguments += ["--join", "clusters.parquet"]
    if not {"--keep-top", "--min"} & {*arguments}:
        arguments += ["--keep-top", "1"]
    assert main(["filter", "scores", "--output", "kept", *arguments]) == 0
    assert json.loads(Path("kept/_summary.json").read_text())["kept"] > 0
