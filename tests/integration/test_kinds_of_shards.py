"""The same pictures get the same scores from tars, from Parquet files and from folders."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from shardsift import annotate_shards
from shardsift.config.filter_settings import FilterConfig
from shardsift.errors import ConfigError, InputError, OutputError
from shardsift.filtering.query import curate
from shardsift.outputs.output_folder import OutputFolder
from shardsift.records import FailedShard
from shardsift.reporting.gather import gather
from shardsift.reporting.page import ReportPage
from shardsift.verification.keep_lists import verify_filtered
from shardsift.verification.outputs import claim_output, verify
from tests.fakes import FakeScorer
from tests.outputs import annotation_files, write_run
from tests.samples import as_parquet, as_pictures, write_shards

SHARDS, SAMPLES = 3, 5
KINDS = ("tars", "parquet", "pictures")


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pictures three times; the folder of pictures has one shard more, without any."""
    root = tmp_path_factory.mktemp("corpora")
    tars = write_shards(root / "tars", SHARDS, SAMPLES)
    as_parquet(tars, root / "parquet", rows=2)
    as_pictures(tars, root / "pictures")
    return root


def rows_of(output: Path) -> list[dict[str, Any]]:
    tables = [pq.read_table(output / name) for name in sorted(annotation_files(output))]
    return [row for table in tables for row in table.to_pylist()]


def test_scores_are_the_same_to_the_bit(corpora: Path, tmp_path: Path) -> None:
    found = {}
    for kind in KINDS:
        rows = rows_of(write_run(corpora / kind, tmp_path / kind, FakeScorer()))
        found[kind] = [(row["quality"], row["width"], row["tar_size"]) for row in rows]
    assert len(found["tars"]) == SHARDS * SAMPLES
    assert found["tars"] == found["parquet"] == found["pictures"]


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_follows_works(kind: str, corpora: Path, tmp_path: Path) -> None:
    out = write_run(corpora / kind, tmp_path / "out", FakeScorer())
    assert verify(claim_output(str(out)), recount=True).problems == []
    config = FilterConfig(annotations=str(out), output=str(tmp_path / "kept"), keep_top=0.4)
    assert curate(config).summary.kept == 6
    page = ReportPage(gather(str(out)))
    page.fetch(page.choose(8), page.run.root)
    assert page.problem is None
    assert all(picture.preview for picture in page.pictures)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_goes_on_where_it_was(kind: str, corpora: Path, tmp_path: Path) -> None:
    whole = annotation_files(write_run(corpora / kind, tmp_path / "whole", FakeScorer()))

    def stopped(tasks: Iterable[Any], title: str, total: int) -> Iterable[Any]:
        yield from list(tasks)[:2]
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        annotate_shards(corpora / kind, FakeScorer(), out, track=stopped)
    begun = {name: (out / name).stat().st_mtime_ns for name in annotation_files(out)}
    assert len(begun) == 2
    annotate_shards(corpora / kind, FakeScorer(), out)
    assert annotation_files(out) == whole
    assert {name: (out / name).stat().st_mtime_ns for name in begun} == begun


@pytest.mark.parametrize("kind", ["parquet", "pictures"])
def test_a_shard_that_is_lost_meanwhile_is_recorded(
    kind: str, corpora: Path, tmp_path: Path
) -> None:
    shutil.copytree(corpora / kind, tmp_path / "in")
    first = sorted((tmp_path / "in").iterdir())[0]

    def lost(tasks: Iterable[Any], title: str, total: int) -> Iterable[Any]:
        shutil.rmtree(first) if first.is_dir() else first.unlink()
        return tasks

    outcomes = annotate_shards(tmp_path / "in", FakeScorer(), tmp_path / "out", track=lost)
    failed = [outcome for outcome in outcomes if isinstance(outcome, FailedShard)]
    assert [each.shard.partition("/")[0] for each in failed] == [first.name]


def test_other_keys_dont_go_into_the_same_output(corpora: Path, tmp_path: Path) -> None:
    out = write_run(corpora / "parquet", tmp_path / "out", FakeScorer())
    with pytest.raises(OutputError, match="read otherwise: key: None there, name here; choose"):
        annotate_shards(corpora / "parquet", FakeScorer(), out, key="name")


def test_kept_and_dropped_paths_are_lists_of_all_pictures(corpora: Path, tmp_path: Path) -> None:
    shutil.copytree(corpora / "pictures", tmp_path / "in")
    (tmp_path / "in" / "a\nb.jpg").write_bytes(b"no picture")
    out, kept = write_run(tmp_path / "in", tmp_path / "out", FakeScorer()), tmp_path / "kept"
    rule = {"annotations": str(out), "output": str(kept), "keep_top": 0.4, "emit": "paths"}
    with pytest.raises(InputError, match=r"'a\\nb\.jpg': a path with a line break; pass --null"):
        curate(FilterConfig.model_validate(rule))
    curate(FilterConfig.model_validate(rule | {"null": True}))
    lists = [(kept / f"{name}.txt").read_bytes().decode() for name in ("kept", "dropped")]
    assert [text.count("\0") for text in lists] == [6, 10]
    paths = {path for text in lists for path in text.split("\0")[:-1]}
    assert all((tmp_path / "in" / path).is_file() for path in paths)
    assert verify_filtered(OutputFolder(str(kept))).problems == []
    (kept / "kept.txt").write_text("other")
    (problem,) = verify_filtered(OutputFolder(str(kept))).problems
    assert (problem.place, problem.trouble) == ("kept.txt", "has changed since it was written")


def test_paths_are_only_those_of_a_folder(corpora: Path, tmp_path: Path) -> None:
    out = write_run(corpora / "tars", tmp_path / "out", FakeScorer())
    with pytest.raises(ConfigError, match="--emit paths: is for folders of pictures"):
        curate(FilterConfig(annotations=str(out), keep_top=0.4, emit=("paths",), dry_run=True))
