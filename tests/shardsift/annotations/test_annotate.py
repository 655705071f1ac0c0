"""One shard to one Parquet: a row for every sample, in order, whatever the sample is."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from threading import Event, Lock, Thread

import pytest

from shardsift.annotations import annotate as module
from shardsift.annotations.annotate import annotate
from shardsift.errors import ShardError
from shardsift.images.decode import decode_rgb
from shardsift.images.decoder import Decoded, ThreadDecoder, Unloaded, Wanted
from shardsift.outputs.sealed_table import read
from shardsift.progress import Meter
from shardsift.records import ImageScore, RgbImage, ShardTask
from shardsift.storage.lease import held
from tests.fakes import FakeScorer, fake_score
from tests.outputs import edit_json
from tests.samples import encoded, write_tar


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def task_for(tar: Path) -> ShardTask:
    return ShardTask(url=str(tar), shard=tar.name, annotation=f"{tar.stem}.parquet")


def rows_of(out: Path) -> list[dict[str, object]]:
    return read(str(out / "a.parquet")).to_pylist()


def test_every_sample_has_its_row_and_its_own_score(tmp_path: Path, out: Path) -> None:
    images = [encoded(width=230 + n, seed=n) for n in range(40)]
    tar = write_tar(tmp_path / "a.tar", [(f"{n}.jpg", image) for n, image in enumerate(images)])
    report = annotate(task_for(tar), FakeScorer(), str(out))
    assert (report.rows, report.errors) == (40, {})
    for n, (row, image) in enumerate(zip(rows_of(out), images, strict=True)):
        score = fake_score(decode_rgb(image, 10**6))
        assert (row["key"], row["index"], row["width"]) == (str(n), n, 230 + n)
        assert row["quality"] == pytest.approx(score.quality)


@pytest.mark.parametrize("rows_held", [1, 2, 5, 11, 12])
@pytest.mark.parametrize("bad", [{}, {0, 1, 2}, {9, 10}, {0, 5, 10}, set(range(11))])
def test_a_large_shard_is_encoded_part_by_part(
    rows_held: int, bad: set[int], tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [(f"{n}.jpg", b"bad" if n in bad else encoded(width=99 + n)) for n in range(11)]
    tar = write_tar(tmp_path / "a.tar", files)
    whole = annotate(task_for(tar), FakeScorer(), str(out))
    expected = rows_of(out)
    monkeypatch.setattr(module, "ROW_GROUP_ROWS", rows_held)
    parts = annotate(task_for(tar), FakeScorer(), str(out))
    assert rows_of(out) == expected
    assert (parts.digest, parts.sketch, parts.errors) == (whole.digest, whole.sketch, whole.errors)


def test_a_stage_is_busy_or_waits(tmp_path: Path, out: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", [(f"{n}.jpg", encoded()) for n in range(20)])
    report = annotate(task_for(tar), FakeScorer(), str(out))
    assert report.seconds is not None
    threads = {"read": 1, "decode": 2, "score": 1, "write": 1}
    assert report.stages.keys() == threads.keys()
    for stage, seconds in report.stages.items():
        assert seconds.busy > 0
        assert seconds.waiting >= 0
        assert seconds.busy + seconds.waiting == pytest.approx(threads[stage] * report.seconds)


def test_a_shard_is_decoded_before_its_turn_and_scored_in_it(tmp_path: Path, out: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", [(f"{n}.jpg", encoded(seed=n)) for n in range(40)])
    annotate(task_for(tar), FakeScorer(), str(out))
    undisturbed = (out / "a.parquet").read_bytes()
    turn, decoded, scored = Lock(), Event(), Event()

    class SeenDecoder(ThreadDecoder):
        def decode(self, files: Sequence[bytes | Unloaded], wanted: Wanted) -> Decoded:
            decoded.set()
            return super().decode(files, wanted)

    class SeenScorer(FakeScorer):
        def score(self, images: Iterable[RgbImage]) -> Iterator[ImageScore]:
            scored.set()
            return super().score(images)

    with turn:  # as while another shard has it
        job = partial(annotate, task_for(tar), SeenScorer(), str(out), SeenDecoder(), turn)
        thread = Thread(target=job)
        thread.start()
        assert decoded.wait(60)
        assert not scored.wait(0.2)
    thread.join(60)
    assert scored.is_set()
    assert (out / "a.parquet").read_bytes() == undisturbed


def test_an_error_of_the_scorer_ends_the_shard(tmp_path: Path, out: Path) -> None:
    class BrokenScorer(FakeScorer):
        def score(self, images: Iterable[RgbImage]) -> Iterator[ImageScore]:
            raise RuntimeError("CUDA error")
            yield

    tar = write_tar(tmp_path / "a.tar", [("1.jpg", encoded())])
    turn = Lock()
    with pytest.raises(RuntimeError, match="CUDA error"):
        annotate(task_for(tar), BrokenScorer(), str(out), turn=turn)
    assert not out.exists()
    assert not turn.locked()


def test_a_meter_counts_what_was_read_and_what_was_scored(tmp_path: Path, out: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", [("0.jpg", encoded()), ("1.txt", b""), ("2.jpg", b"bad")])
    meter = Meter()
    annotate(task_for(tar), FakeScorer(), str(out), meter=meter)
    assert meter.read().steps == 3 + 1


def test_nothing_is_committed_once_the_output_is_anothers(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", [("1.jpg", encoded())])
    task = ShardTask(url=str(tmp_path / "0.tar"), shard="0.tar", annotation="0.parquet")
    out = tmp_path / "out"
    with held(str(out)) as lease:
        edit_json(out / "_running.json", run="another")
        late = pickle.loads(pickle.dumps(lease))  # noqa: S301  # as actors get it
        with pytest.raises(ShardError, match="another command took it over"):
            annotate(task, FakeScorer(), str(out), lease=late)
    assert [path.name for path in out.iterdir()] == ["_running.json"]
