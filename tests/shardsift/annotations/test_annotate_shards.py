"""A run without Ray, as a notebook has it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from shardsift import annotate_shards
from shardsift.annotations.annotate import annotate, contents_by
from shardsift.errors import InputError, OutputError
from shardsift.outputs.manifest import read_manifest
from shardsift.outputs.output_folder import OutputFolder
from shardsift.records import FailedShard, ImageScore, RgbImage
from shardsift.shards.plan import plan_shards
from shardsift.verification.outputs import claim_output, verify
from tests.fakes import FakeScorer
from tests.outputs import annotation_files
from tests.samples import encoded, saved, write_shards, write_tar

LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from shardsift.annotations.annotate import annotate
from shardsift.records import ShardTask
from tests.fakes import FakeScorer

FakeScorer.config = FakeScorer.config.model_copy(update={"max_pixels": 10**8})
task = ShardTask(url=sys.argv[1], shard="0.tar", annotation="0.parquet")
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (150 << 20), resource.RLIM_INFINITY))
try:
    annotate(task, FakeScorer(), sys.argv[2])
except MemoryError as error:
    print(error)
"""


def summary(out: Path) -> dict[str, Any]:
    return json.loads((out / "_summary.json").read_text())


def test_all_shards_are_annotated_and_summed_up(tmp_path: Path) -> None:
    shards, out = write_shards(tmp_path / "in", shards=3, samples=2), tmp_path / "out"
    outcomes = annotate_shards(str(shards), FakeScorer(), str(out))
    assert [outcome.shard for outcome in outcomes] == ["00000.tar", "00001.tar", "00002.tar"]
    assert annotation_files(out).keys() == {f"0000{number}.parquet" for number in range(3)}
    assert (summary(out)["shards"], summary(out)["scored"]) == (3, 6)


def test_pictures_under_one_key_are_named_with_the_flag_that_tells_them_apart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"Screenshot 2024.05.0{day}.jpg" for day in range(1, 7)]
    write_tar(tmp_path / "in" / "0.tar", [(name, encoded()) for name in names])
    annotate_shards(tmp_path / "in", FakeScorer(), tmp_path / "out")
    assert "5 further images share a key" in caplog.text
    assert "pass --key-by stem" in caplog.text
    assert caplog.text.rstrip().endswith(f"they are {', '.join(map(repr, names[1:4]))} and others")
    annotate_shards(tmp_path / "in", FakeScorer(), tmp_path / "stem", key_by="stem")
    assert summary(tmp_path / "stem")["scored"] == 6


def test_what_was_scored_again_before_a_stop_counts_as_it_is_now(tmp_path: Path) -> None:
    shards, out = write_shards(tmp_path / "in", shards=2, samples=2), tmp_path / "out"
    annotate_shards(str(shards), FakeScorer(), str(out))
    write_tar(shards / "00000.tar", [(f"{n}.jpg", encoded(seed=n)) for n in range(5)])

    # what `score --rescore changed` does, stopped after its first shard
    folder, plan = OutputFolder(str(out)), plan_shards([str(shards)])
    folder.reopen(plan, lambda task, footer: True)
    folder.begin(plan, contents_by(FakeScorer()))
    annotate(next(iter(plan)), FakeScorer(), str(out))

    assert annotate_shards(str(shards), FakeScorer(), str(out)) == []
    rows = {report.shard: report.rows for report in read_manifest(f"{out}/_manifest.arrow")}
    assert rows == {"00000.tar": 5, "00001.tar": 2}
    assert summary(out)["rows"] == 7
    assert verify(claim_output(str(out))).problems == []


@pytest.mark.parametrize("harm", ["rename", "delete", "delete one"])
def test_an_output_that_goes_away_meanwhile_is_no_success(harm: str, tmp_path: Path) -> None:
    shards, out = write_shards(tmp_path / "in", shards=4, samples=1), tmp_path / "out"

    def harmed(tasks: Iterable[Any], title: str, total: int) -> Iterable[Any]:
        for number, task in enumerate(tasks):
            if number == 2:
                if harm == "rename":
                    out.rename(tmp_path / "renamed")
                elif harm == "delete":
                    shutil.rmtree(out)
                else:
                    (out / "00000.parquet").unlink()
            yield task

    with pytest.raises(OutputError, match=r"has disappeared, and [12] of 4 annotations"):
        annotate_shards(str(shards), FakeScorer(), str(out), track=harmed)
    assert not (out / "_summary.json").exists()
    annotate_shards(str(shards), FakeScorer(), str(out), overwrite=True)
    assert len(annotation_files(out)) == 4


def test_it_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    shards, out = write_shards(tmp_path / "in", shards=3, samples=2), tmp_path / "out"

    def interrupted(tasks: Iterable[Any], title: str, total: int) -> Iterable[Any]:
        for number, task in enumerate(tasks):
            if number == 2:
                raise KeyboardInterrupt
            yield task

    with pytest.raises(KeyboardInterrupt):
        annotate_shards(str(shards), FakeScorer(), str(out), track=interrupted)
    assert not (out / "_summary.json").exists()
    outcomes = annotate_shards(str(shards), FakeScorer(), str(out))
    assert [outcome.shard for outcome in outcomes] == ["00002.tar"]
    assert summary(out)["shards"] == 3
    assert annotate_shards(str(shards), FakeScorer(), str(out)) == []


def test_a_shard_that_is_cut_is_recorded_and_tried_again(tmp_path: Path) -> None:
    shards, out = write_shards(tmp_path / "in", shards=2, samples=2), tmp_path / "out"
    whole = (shards / "00001.tar").read_bytes()
    (shards / "00001.tar").write_bytes(whole[:3000])
    _, failed = annotate_shards(str(shards), FakeScorer(), str(out))
    assert isinstance(failed, FailedShard)
    assert (out / "_failed" / "00001.json").exists()
    assert summary(out)["failed_shards"] == 1
    (shards / "00001.tar").write_bytes(whole)
    (mended,) = annotate_shards(str(shards), FakeScorer(), str(out))
    assert mended.shard == "00001.tar"
    assert not (out / "_failed" / "00001.json").exists()
    assert summary(out)["failed_shards"] == 0


def test_mistakes_are_told_before_anything_is_written(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "in", shards=1, samples=1)
    with pytest.raises(InputError):
        annotate_shards(str(shards / "gone.tar"), FakeScorer(), str(tmp_path / "out"))
    with pytest.raises(OutputError, match="a folder of shards"):
        annotate_shards(str(shards), FakeScorer(), str(shards / "out"))
    assert not list((tmp_path / "out").rglob("*"))
    assert not (shards / "out").exists()


def test_too_little_memory_fails_the_shard_and_no_picture(tmp_path: Path) -> None:
    large = saved(Image.new("RGB", (4000, 4000), "teal"))
    tar = write_tar(tmp_path / "in" / "0.tar", [("1.png", large)])
    out = tmp_path / "out"
    command = [sys.executable, "-c", LITTLE_MEMORY, str(tar), str(out)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert "no memory is left" in done.stdout, done.stdout + done.stderr
    assert not out.exists()


@pytest.mark.parametrize("starved", [MemoryError("out"), RuntimeError("can't start new thread")])
def test_a_machine_without_memory_or_threads_fails_the_shard(
    starved: Exception, tmp_path: Path
) -> None:
    class Starved(FakeScorer):
        def score(self, images: Iterable[RgbImage]) -> Iterator[ImageScore]:
            raise starved

    shards = write_shards(tmp_path / "in", shards=1, samples=2)
    [failed] = annotate_shards(shards, Starved(), tmp_path / "out")
    assert isinstance(failed, FailedShard)
    assert failed.reason == str(starved)
