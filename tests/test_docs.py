"""The README can't rot: its flags exist, its commands parse, its columns are those of the files."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any, cast

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer.main

from shardsift.annotations.parquet import SCHEMA
from shardsift.cli.app import app, main
from shardsift.config import Extras
from shardsift.curation.curate import curate
from shardsift.curation.filter_config import FilterConfig
from shardsift.errors import ErrorCode
from tests.fakes import FakeScorer
from tests.generated import row, write_annotations
from tests.outputs import write_run
from tests.samples import picture, write_shards
from tests.shardsift.reshard.corpora import plain_corpus

README = (Path(__file__).parents[1] / "README.md").read_text()
COLUMNS = (Path(__file__).parents[1] / "docs" / "columns.md").read_text()
FILES = (Path(__file__).parents[1] / "docs" / "files.md").read_text()
VERBS: dict[str, Any] = cast(Any, typer.main.get_command(app)).commands
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line
    for language, block in [*BLOCKS, *re.findall(r"```(\w+)\n(.*?)```", COLUMNS, re.DOTALL)]
    for line in block.splitlines()
    if language == "bash" and ("shardsift " in line or "jobs/" in line)
]


def flags_of(verb: str) -> set[str]:
    parameters = VERBS[verb].params
    flags = [flag for each in parameters for flag in (*each.opts, *each.secondary_opts)]
    return {flag for flag in flags if "--" in flag}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_shown(verb: str) -> None:
    assert f"shardsift {verb}" in README


def test_every_documented_flag_exists() -> None:
    known = {"--install-completion"}.union(*(flags_of(verb) for verb in VERBS))
    others = r"^(docker|python -m open_clip_train|python -m jobs).*$|ray job submit .*? -- "
    ours = re.sub(others, "", README + COLUMNS, flags=re.MULTILINE)
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", ours)) <= known


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_parses(command: str) -> None:
    verb, *rest = re.split(r"shardsift |jobs/", command, maxsplit=1)[1].split(maxsplit=1)
    verb = verb.removesuffix(".py")
    VERBS[verb].make_context(verb, shlex.split(" ".join(rest)))


def test_every_column_and_error_is_documented() -> None:
    for name in [*SCHEMA.names, *ErrorCode]:
        assert f"`{name}`" in README, name


def test_the_python_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture().save(tmp_path / "a.jpg")
    picture(seed=1).save(tmp_path / "b.png")
    write_shards(tmp_path / "corpus", shards=2, samples=1)
    monkeypatch.chdir(tmp_path)
    images, shards = (block for _, block in BLOCKS if "Scorer(" in block)
    printed: list[Any] = []
    exec(images, {"print": printed.append})
    one, *means = printed
    assert str(one).startswith("ImageScore(quality=0.")
    assert np.isfinite(means).all()
    exec(shards, {"print": printed.append})
    assert len(printed) == 5


def test_embeddings_are_read_as_the_documentation_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Embedding(FakeScorer):
        embedding_values = 4

    write_run(write_shards(tmp_path / "corpus", 2, 3), tmp_path / "corpus-scores", Embedding())
    monkeypatch.chdir(tmp_path)
    by_reader, by_pyarrow = re.findall(r"```python\n(.*?)```", COLUMNS, re.DOTALL)
    names: dict[str, Any] = {}
    exec(by_reader, names)
    assert names["embeddings"].shape == (6, 4)
    exec(by_pyarrow, names)
    assert names["table"]["quality"].to_pylist() == pytest.approx(names["rows"]["quality"])


def test_the_digest_of_the_documentation_is_that_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(write_shards(tmp_path / "corpus", 1, 3), tmp_path / "corpus-scores", FakeScorer())
    monkeypatch.chdir(tmp_path)
    (recipe,) = re.findall(r"```python\n(.*?)```", FILES, re.DOTALL)
    exec(recipe, {})


def test_the_queries_for_duckdb_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_annotations(tmp_path / "corpus-scores", {"a/0.tar": [0.11, 0.12, 0.9], "b.tar": [0.5]})
    output = str(tmp_path / "corpus-kept")
    curate(FilterConfig(annotations=str(tmp_path / "corpus-scores"), output=output, keep_count=2))
    captions = {"uid": [f"{n:032x}" for n in range(3)], "text": ["one", "two", "three"]}
    pq.write_table(pa.table(captions), tmp_path / "captions.parquet")
    monkeypatch.chdir(tmp_path)
    histogram, worst, captioned = [
        duckdb.connect().execute(block).fetchall()
        for language, block in BLOCKS
        if language == "sql"
    ]
    assert [count for _, count in histogram] == [2, 1, 1]
    assert [key for _, key, *_ in worst] == ["k0", "k1", "k0", "k2"]
    assert [(round(quality, 3), text) for _, quality, text in captioned] == [
        (0.9, "three"),
        (0.5, "one"),
    ]


def test_the_loaders_of_the_readme_see_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_shards(tmp_path / "corpus", shards=2, samples=4)
    write_run(folder, tmp_path / "scores", FakeScorer())
    rule = {"annotations": str(tmp_path / "scores"), "output": str(tmp_path / "corpus-kept")}
    curate(FilterConfig.model_validate(rule | {"keep_top": 0.5}))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"shards": [str(path) for path in sorted(folder.glob("*.tar"))]}
    loaders = [block for kind, block in BLOCKS if kind == "python" and "shards" in block]
    seen: list[list[tuple[str, str]]] = []
    for loader in loaders[:2]:  # Ray's is run with Ray, in integration/test_ray_data.py
        exec(loader, names)
        seen.append([(sample["__url__"], sample["__key__"]) for sample in names["dataset"]])
    assert "webdataset.WebDataset" in loaders[0]
    assert "datasets.load_dataset" in loaders[1]
    assert seen[0] == seen[1]
    assert len(seen[0]) == 4


def test_the_loader_of_a_clean_corpus_sees_pictures_and_scores(tmp_path: Path) -> None:
    corpus = plain_corpus(tmp_path)
    corpus.reshard()
    names: dict[str, Any] = {"tars": [str(path) for path in sorted(corpus.out.glob("*.tar"))]}
    (loader,) = [block for kind, block in BLOCKS if kind == "python" and "clean = " in block]
    exec(loader, names)
    samples = list(names["clean"])
    assert len(samples) == len(corpus.kept_keys())
    assert all(image.width == fields["width"] for image, fields in samples)
    assert all(0 < fields["quality"] < 1 for _, fields in samples)


FILTERS = re.findall(r"^\| [^|]+ \| `(--[^`]+)`", COLUMNS, re.MULTILINE)


@pytest.mark.parametrize("words", FILTERS, ids=lambda words: words[:30])
def test_filters_in_datacomp_s_manner_run(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row(n, 0.5 + n / 20, phash=n // 2) for n in range(8)]
    extras = Extras(hashes=("phash",))
    write_annotations(tmp_path / "scores", {"a.tar": rows}, extras=extras)
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
    monkeypatch.chdir(tmp_path)
    for name in ("metadata", "clusters"):
        pq.write_table(pa.table(metadata), f"{name}.parquet")
    arguments = shlex.split(words)
    if "cluster" in words and "--join" not in words:
        arguments += ["--join", "clusters.parquet"]
    if not {"--keep-top", "--min"} & {*arguments}:
        arguments += ["--keep-top", "1"]
    assert main(["filter", "scores", "--output", "kept", *arguments]) == 0
    assert json.loads(Path("kept/_summary.json").read_text())["kept"] > 0
