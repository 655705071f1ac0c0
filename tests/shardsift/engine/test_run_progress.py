"""Progress of a run is true while its shards are under way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from shardsift.engine.actor import Place
from shardsift.engine.run_progress import RunProgress
from shardsift.progress import ActorProgress, ShardProgress, Snapshot
from shardsift.records import FailedShard, ShardReport, StageSeconds
from shardsift.runs.score_run import ScoreCounts

IMAGE_BYTES = 1000


@dataclass
class Actors:
    """Actors that score images of one size, each at its speed, a batch at a time."""

    images: list[int]
    actors: int = 2
    per_second: float = 4.0
    batch: int = 8
    silent: bool = False
    places: list[Place] = field(default_factory=list[Place])
    working: int = 0
    progress: dict[Place, ActorProgress] = field(default_factory=dict[Place, ActorProgress])

    def run(self) -> Iterator[tuple[int, list[ShardReport]]]:
        """Yield each second, and the shards that have ended in it."""
        waiting = list(enumerate(self.images))
        busy: dict[int, tuple[int, int, int]] = {}
        self.places = [Place(node_id="n", gpu_ids=(), pid=pid) for pid in range(self.actors)]
        second = 0
        while waiting or busy:
            ended: list[ShardReport] = []
            for actor in range(self.actors):
                if actor in busy:
                    shard, images, begun = busy[actor]
                    if (second - begun) * self.per_second >= images:
                        size = images * IMAGE_BYTES
                        ended.append(ShardReport(shard=f"{shard}.tar", rows=images, bytes=size))
                        del busy[actor]
                if actor not in busy and waiting:
                    busy[actor] = (*waiting.pop(0), second)
            self.working = len(busy)
            if not self.silent:
                self.progress = {
                    self.places[a]: ActorProgress(0, self._part(second, *of))
                    for a, of in busy.items()
                }
            yield second, ended
            second += 1

    def _part(self, second: int, shard: int, images: int, begun: int) -> dict[str, ShardProgress]:
        done = int((second - begun) * self.per_second) // self.batch * self.batch
        size = images * IMAGE_BYTES
        return {f"{shard}.tar": ShardProgress(done * IMAGE_BYTES, size, done, 0)}


def watch_all(actors: Actors) -> list[tuple[int, Snapshot]]:
    """Collect the snapshots of each second of a run."""
    now = 0.0
    counts = ScoreCounts(shards_total=len(actors.images))
    progress = RunProgress(actors, counts, "scoring", clock=lambda: now)
    shown: list[tuple[int, Snapshot]] = []
    for second, ended in actors.run():
        now = float(second)
        for report in ended:
            progress.add(report)
        shown.append((second, progress.snapshot()))
    return shown


@pytest.mark.parametrize(
    "actors",
    [
        Actors([1000]),  # one shard, and an actor that has nothing to do
        Actors([200] * 5),  # the fifth runs alone
        Actors([40] * 50),
        Actors([3] * 2000, silent=True),  # ended before a report of them
        Actors([10_000], actors=1, per_second=50, batch=256),
    ],
    ids=lambda actors: f"{len(actors.images)} shards",
)
def test_the_time_left_is_true_after_the_first_tenth(actors: Actors) -> None:
    shown = watch_all(actors)
    end = shown[-1][0]
    for second, snapshot in shown:
        if 0.1 * end <= second <= end - 8:
            assert snapshot.left == pytest.approx(end - second, rel=0.25, abs=3), second


def test_images_are_counted_inside_shards_and_once() -> None:
    actors = Actors([200] * 5)
    shown = watch_all(actors)
    items = [snapshot.items for _, snapshot in shown]
    assert items == sorted(items)
    assert len(set(items)) > 50, "not by the shard"
    assert items[-1] == 1000
    shares = [snapshot.share or 0 for _, snapshot in shown]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert 0.45 < shares[len(shares) // 2] < 0.75
    for _, snapshot in shown[20:]:
        assert snapshot.total == pytest.approx(1000, rel=0.05)
        assert snapshot.rate == pytest.approx(8, rel=0.6)


def test_until_an_actor_is_ready_nothing_is_scored() -> None:
    progress = RunProgress(Actors([10]), ScoreCounts(shards_total=1), "scoring")
    assert progress.snapshot().doing == "starting actors"


def test_actors_errors_and_failed_shards_are_shown() -> None:
    actors = Actors([10, 10, 10])
    next(actors.run())
    actors.progress[actors.places[0]] = ActorProgress(
        7, {"0.tar": ShardProgress(5000, 10_000, 5, 2)}
    )
    progress = RunProgress(actors, ScoreCounts(shards_total=3), "scoring")
    assert progress.snapshot().notes == ["2 without a score", "2 actors"]
    progress.add(ShardReport(shard="0.tar", rows=10, errors={"truncated": 3}, bytes=10_000))
    progress.add(FailedShard(shard="1.tar", url="/1.tar", reason="cut", attempts=3))
    snapshot = progress.snapshot()
    assert snapshot.notes == ["3 without a score", "1 shard failed", "2 actors"]
    assert (snapshot.items, snapshot.share) == (10, pytest.approx(2 / 3))


def test_the_stage_that_the_others_wait_for_is_named() -> None:
    counts = ScoreCounts(shards_total=2)
    assert counts.pace == ""
    for decode in (StageSeconds(busy=18, waiting=2), StageSeconds(busy=20, waiting=0)):
        stages = {"decode": decode, "score": StageSeconds(busy=6, waiting=4)}
        counts.add(ShardReport(shard="0.tar", rows=1, stages=stages))
    assert counts.pace == "busy: decode 95%, score 60%; decode sets the pace"
