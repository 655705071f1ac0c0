"""What is shown of a run is true while its shards are under way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from shardsift.engine.actor import Place
from shardsift.engine.watch import Watch
from shardsift.engine.weights import Kind, Weights, kind_of
from shardsift.progress import Part, Snapshot
from shardsift.records import FailedShard, ShardReport, StageSeconds
from shardsift.runs.score import ScoreTally

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
    under_way: dict[str, dict[str, Part]] = field(default_factory=dict[str, dict[str, Part]])

    def parts(self) -> dict[str, dict[str, Part]]:
        return {} if self.silent else self.under_way

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
            self.under_way = {str(a): self._part(second, *of) for a, of in busy.items()}
            yield second, ended
            second += 1

    def _part(self, second: int, shard: int, images: int, begun: int) -> dict[str, Part]:
        done = int((second - begun) * self.per_second) // self.batch * self.batch
        size = images * IMAGE_BYTES
        return {f"{shard}.tar": Part(done * IMAGE_BYTES, size, done, 0)}


def watch_all(actors: Actors, *, weighed: bool = False) -> list[tuple[int, Snapshot]]:
    """What is shown at each second of a run."""
    now = 0.0
    tally = ScoreTally(shards_total=len(actors.images))
    total = sum(actors.images) * IMAGE_BYTES
    whole = Kind(bytes=total, work=1.0, items=1 / IMAGE_BYTES)
    weights = Weights({kind_of("0.tar"): whole}) if weighed else None
    watch = Watch(actors, tally, "scoring", lambda: weights, clock=lambda: now)
    shown: list[tuple[int, Snapshot]] = []
    for second, ended in actors.run():
        now = float(second)
        for report in ended:
            watch.add(report)
        shown.append((second, watch.look()))
    return shown


@pytest.mark.parametrize(
    "actors",
    [
        Actors([1000]),  # one shard, and an actor that has nothing to do
        Actors([200] * 5),  # the fifth runs alone
        Actors([40] * 50),
        Actors([3] * 2000, silent=True),  # over before anybody can tell of them
        Actors([100, 300, 900, 200, 500, 100, 100], actors=3),
        Actors([10_000], actors=1, per_second=50, batch=256),
    ],
    ids=lambda actors: f"{len(actors.images)} shards",
)
def test_the_time_left_is_true_after_the_first_tenth(actors: Actors) -> None:
    shown = watch_all(actors, weighed=True)
    end = shown[-1][0]
    for second, snapshot in shown:
        if 0.1 * end <= second <= end - 8:
            assert snapshot.left == pytest.approx(end - second, rel=0.25, abs=3), second


def test_a_corpus_of_unlike_parts_is_no_surprise() -> None:
    """Bytes of photographs took half the time of bytes of drawings; what was left, 2.6 times it."""

    @dataclass
    class Unlike(Actors):
        """The first two shards have twice the bytes a picture."""

        def _part(self, second: int, shard: int, images: int, begun: int) -> dict[str, Part]:
            (part,) = super()._part(second, shard, images, begun).values()
            return {name_of(shard): part.times(0.5 if shard < 2 else 1.0)}

    def name_of(shard: int) -> str:
        return f"{'drawings' if shard < 2 else 'photos'}/{shard}.tar"

    now, actors = 0.0, Unlike([400, 400, 160, 160, 160])
    weights = Weights(
        {
            kind_of(name_of(0)): Kind(bytes=400_000, work=2.0, items=2 / IMAGE_BYTES),
            kind_of(name_of(2)): Kind(bytes=480_000, work=1.0, items=1 / IMAGE_BYTES),
        }
    )
    watch = Watch(actors, ScoreTally(shards_total=5), "scoring", lambda: weights, clock=lambda: now)
    shown: list[tuple[int, Snapshot]] = []
    for second, ended in actors.run():
        now = float(second)
        for report in ended:
            shard = int(report.shard.removesuffix(".tar"))
            size = round(report.bytes * (0.5 if shard < 2 else 1.0))
            watch.add(replace(report, shard=name_of(shard), bytes=size))
        shown.append((second, watch.look()))
    end = shown[-1][0]
    for second, snapshot in shown:
        if 0.1 * end <= second <= end - 8:
            assert snapshot.left == pytest.approx(end - second, rel=0.25, abs=3), second
            assert snapshot.total == pytest.approx(1280, rel=0.01)


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
    watch = Watch(Actors([10]), ScoreTally(shards_total=1), "scoring")
    assert watch.look().doing == "starting actors"


def test_actors_errors_and_failed_shards_are_shown() -> None:
    actors = Actors([10, 10, 10])
    next(actors.run())
    actors.under_way["0"] = {"0.tar": Part(5000, 10_000, 5, 2)}
    watch = Watch(actors, ScoreTally(shards_total=3), "scoring")
    assert watch.look().notes == ["2 actors", "2 without a score"]
    watch.add(ShardReport(shard="0.tar", rows=10, errors={"truncated": 3}, bytes=10_000))
    watch.add(FailedShard(shard="1.tar", url="/1.tar", reason="cut", attempts=3))
    snapshot = watch.look()
    assert snapshot.notes == ["2 actors", "3 without a score", "1 shard failed"]
    assert (snapshot.items, snapshot.share) == (10, pytest.approx(2 / 3))


def test_the_stage_that_the_others_wait_for_is_named() -> None:
    tally = ScoreTally(shards_total=2)
    assert tally.pace == ""
    for decode in (StageSeconds(busy=18, waiting=2), StageSeconds(busy=20, waiting=0)):
        stages = {"decode": decode, "score": StageSeconds(busy=6, waiting=4)}
        tally.add(ShardReport(shard="0.tar", rows=1, stages=stages))
    assert tally.pace == "busy: decode 95%, score 60%; decode sets the pace"
