"""Counts are the run's, rows a sample of it where it is large."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shardsift.errors import InputError
from shardsift.outputs.sealed_table import count_values
from shardsift.reporting.gather import gather
from shardsift.storage.lease import held
from tests.fakes import FakeScorer
from tests.outputs import write_run
from tests.samples import write_shards, write_tar


@pytest.fixture(name="run", scope="module")
def a_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_shards(folder / "shards", shards=3, samples=20)
    write_tar(folder / "shards" / "bad.tar", [("bad.jpg", b"no image"), ("none.txt", b"")])
    return write_run(folder / "shards", folder / "scores", FakeScorer())


def test_a_small_run_is_read_as_it_is(run: Path) -> None:
    data = gather(str(run))
    assert (data.rows, data.rows_read, data.files) == (62, 62, 4)
    assert not data.is_sampled
    assert dict(data.errors) == {"unsupported_format": 1, "missing_image": 1}
    assert data.record
    assert data.record.fingerprint == "fake-scorer"
    assert data.root == str(run.parent / "shards")
    assert np.isfinite(data.numbers("quality")).sum() == 60
    assert count_values(data.table["image_ext"]) == {"jpg": 61}


def test_a_large_run_is_sampled_and_says_so(run: Path) -> None:
    data = gather(str(run), limit=20)
    assert data.is_sampled
    assert data.rows == 62
    assert data.rows_read == 17  # five of each shard at most
    assert sum(data.errors.values()) == 2  # counted in the manifest, whatever was drawn
    again = gather(str(run), limit=20)
    assert data.table.equals(again.table)


def test_an_unfinished_run_has_a_report(run: Path, tmp_path: Path) -> None:
    for file in run.glob("0*.parquet"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    data = gather(str(tmp_path))
    assert (data.rows, data.rows_read, data.root) == (None, 60, None)


def test_a_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no annotations"):
        gather(str(tmp_path))


def test_while_a_run_goes_on_its_old_manifest_is_not_believed(run: Path, tmp_path: Path) -> None:
    """The manifest is that of an earlier run with fewer shards."""
    for file in run.glob("*.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "_summary.json").unlink()
    data = gather(str(tmp_path), limit=20)
    assert (data.rows, data.rows_read, data.is_sampled) == (None, 17, True)


def test_a_run_that_has_just_begun_is_told_as_one(tmp_path: Path) -> None:
    with held(str(tmp_path)), pytest.raises(InputError, match="no annotations yet"):
        gather(str(tmp_path))


def test_a_large_unfinished_run_says_that_it_is_sampled(run: Path, tmp_path: Path) -> None:
    """Each file was thinned, and the page took what was left for all of it."""
    for file in run.glob("0*.parquet"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    data = gather(str(tmp_path), limit=30)
    assert (data.rows_there, data.rows_read, data.is_sampled) == (60, 30, True)
