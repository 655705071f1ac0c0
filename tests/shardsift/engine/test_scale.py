"""The real coordinator on simulated actors: a large cluster for hours, in seconds.

`make scale` runs it with a million shards on a thousand actors, and prints what
`docs/explanation/reliability.md` states.
"""

from __future__ import annotations

import os
import resource
import sys
from collections import Counter
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from jobs.bench.simulated import ACTORS_PER_NODE, MEAN_SECONDS, Flaw, SimulatedFleet
from shardsift.engine.coordinator import Coordinator, Outcome
from shardsift.errors import EngineError
from shardsift.outputs.manifest import ManifestWriter
from shardsift.records import FailedShard, ShardReport, ShardTask
from shardsift.shards.plan import plan_shards

SHARDS, ACTORS = 10_000, 100
LIMIT_MB = 500


def coordinate(fleet: SimulatedFleet, actors: int = ACTORS, **options: Any) -> Coordinator:
    defaults: dict[str, Any] = {"max_attempts": 3, "shard_timeout": 600.0}
    defaults["find_committed"] = nothing_committed
    return Coordinator(fleet, actors, **(defaults | options))


def nothing_committed(task: ShardTask) -> ShardReport | None:
    return None


def shards(number: int = SHARDS) -> Sequence[ShardTask]:
    return [
        ShardTask(url=f"/in/{n}.tar", shard=f"{n}.tar", annotation=f"{n}.parquet")
        for n in range(number)
    ]


def failures(outcomes: Sequence[Outcome], tasks: Sequence[ShardTask]) -> dict[str, FailedShard]:
    """The shards that were given up, once it is known that each shard has one outcome."""
    assert Counter(outcome.shard for outcome in outcomes) == Counter(task.shard for task in tasks)
    return {outcome.shard: outcome for outcome in outcomes if isinstance(outcome, FailedShard)}


def test_actors_never_wait_for_work_and_memory_stays_small(tmp_path: Path) -> None:
    """With the list of shards and the manifest of a real run."""
    number = int(os.environ.get("SHARDSIFT_TEST_SHARDS", SHARDS))
    actors = int(os.environ.get("SHARDSIFT_TEST_ACTORS", ACTORS))
    plan = plan_shards([f"/corpus/{{0000000..{number - 1:07}}}.tar"])
    fleet = SimulatedFleet()
    began = perf_counter()
    with ManifestWriter() as manifest:
        for outcome in coordinate(fleet, actors).run(plan):
            assert isinstance(outcome, ShardReport | FailedShard)
            manifest.add(outcome)
        took = perf_counter() - began
        manifest.commit(str(tmp_path / "_manifest.arrow"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    busy = fleet.seconds_busy / (fleet.now() * actors)
    sys.stdout.write(
        f"\n{number:,} shards, {actors:,} actors: {took:.1f} s, {number / took:,.0f} shards/s, "
        f"actors busy {busy:.1%} of {fleet.now():,.0f} s, peak memory {peak:.0f} MB\n"
    )
    assert manifest.totals.shards == number
    ideal = number * MEAN_SECONDS / actors
    assert busy > 1 - 40 / ideal, "idle for longer than the start and the last shards explain"
    if number >= 1_000_000:
        assert peak < LIMIT_MB


def test_deadly_and_hanging_shards_pay_and_no_others() -> None:
    tasks = shards()
    deadly = {task.shard for task in tasks[7::500]}
    hanging = {task.shard for task in tasks[11::1000]}
    fleet = SimulatedFleet(deadly=deadly, hanging=hanging)
    failed = failures(list(coordinate(fleet).run(tasks)), tasks)
    assert failed.keys() == deadly | hanging
    assert {failure.attempts for failure in failed.values()} == {3}
    assert set(fleet.tried.values()) == {3}, "queued behind another, a shard isn't begun"
    assert {failed[shard].reason for shard in hanging} == {"took longer than the limit of 600 s"}


def test_a_full_disk_isnt_tried_three_times_within_milliseconds() -> None:
    tasks = shards(10)
    fleet = SimulatedFleet(unwritable={"0.tar": 34.0, "1.tar": 1000.0})
    failed = failures(list(coordinate(fleet, actors=2).run(tasks)), tasks)
    assert {shard: failure.attempts for shard, failure in failed.items()} == {"1.tar": 3}
    assert fleet.now() >= 20 + 5 + 10, "the pauses double"


def test_of_two_shards_in_an_actor_none_pays_until_it_fails_alone() -> None:
    tasks = shards()
    deadly = {task.shard for task in tasks[7::50]}
    hanging = {task.shard for task in tasks[11::1000]}
    fleet = SimulatedFleet(deadly=deadly, hanging=hanging, overlaps=True)
    failed = failures(list(coordinate(fleet).run(tasks)), tasks)
    assert failed.keys() == deadly | hanging
    assert {failure.attempts for failure in failed.values()} == {3}
    # Once in company, or again if it was taken from a slot that another one had emptied.
    assert set(fleet.tried.values()) <= {3, 4, 5}


def test_the_last_shards_are_tried_alone_by_one_actor() -> None:
    tasks = shards(2)
    fleet = SimulatedFleet(deadly={task.shard for task in tasks}, overlaps=True)
    failed = failures(list(coordinate(fleet, actors=1).run(tasks)), tasks)
    assert {failure.attempts for failure in failed.values()} == {3}


@pytest.mark.parametrize("overlaps", [False, True])
def test_lost_nodes_cost_no_attempt(overlaps: bool) -> None:
    tasks = shards()
    nodes = ceil(ACTORS / ACTORS_PER_NODE)
    losses = [(40.0 + 15 * n, n) for n in range(nodes)]
    fleet = SimulatedFleet(losses=losses, overlaps=overlaps)
    assert not failures(list(coordinate(fleet, max_attempts=1).run(tasks)), tasks)


def test_a_shard_that_was_committed_before_the_crash_is_not_scored_again() -> None:
    tasks = shards(300)
    fleet = SimulatedFleet(deadly={"5.tar"})

    def find_committed(task: ShardTask) -> ShardReport:
        return ShardReport(shard=task.shard, rows=1)

    run = coordinate(fleet, find_committed=find_committed).run(tasks)
    assert not failures(list(run), tasks)
    assert fleet.tried == {"5.tar": 1}


def test_finishing_begins_no_more_shards() -> None:
    tasks = shards()
    coordinator = coordinate(SimulatedFleet())
    run = coordinator.run(tasks)
    outcomes = [next(run)]
    coordinator.finish()
    outcomes += run
    assert len(outcomes) <= ACTORS + 1
    assert not [outcome for outcome in outcomes if isinstance(outcome, FailedShard)]


@pytest.mark.parametrize("number", [1, 3])
def test_fewer_shards_than_actors_are_spread_over_them(number: int) -> None:
    fleet = SimulatedFleet()
    assert not failures(list(coordinate(fleet).run(shards(number))), shards(number))
    assert fleet.now() < 20 + 1.5 * MEAN_SECONDS + 1, "one after the other"


def test_an_actor_that_cant_start_is_tried_elsewhere() -> None:
    tasks = shards(400)
    fleet = SimulatedFleet(nodes=4, flaws={0: "raise"})
    assert not failures(list(coordinate(fleet, actors=16).run(tasks)), tasks)
    assert fleet.starts[0] == ACTORS_PER_NODE, "there was room on other nodes"
    assert fleet.starts.total() == 16 + ACTORS_PER_NODE


@pytest.mark.parametrize("flaw", ["raise", "die", "hang"])
def test_actors_that_cant_start_are_given_up_and_the_others_go_on(
    flaw: Flaw, caplog: pytest.LogCaptureFixture
) -> None:
    tasks = shards()
    fleet = SimulatedFleet(nodes=2, flaws={0: flaw})
    assert not failures(list(coordinate(fleet, actors=16).run(tasks)), tasks)
    assert fleet.starts == {0: 3 * ACTORS_PER_NODE, 1: ACTORS_PER_NODE}
    given_up = [line for line in caplog.messages if line.startswith("gave up an actor on node 0")]
    assert len(given_up) == ACTORS_PER_NODE
    assert given_up[-1].endswith("; 8 left")


@pytest.mark.parametrize(
    ("flaw", "reason"),
    [
        ("raise", "T4 has no bfloat16"),
        ("die", "the worker died of its driver"),
        ("hang", "it was not ready after 900 s"),
    ],
)
def test_a_run_ends_if_no_actor_can_start(flaw: Flaw, reason: str) -> None:
    fleet = SimulatedFleet(nodes=1, flaws={0: flaw})
    with pytest.raises(EngineError, match="no actor can start, .* on node 0, GPU 0: " + reason):
        list(coordinate(fleet, actors=8).run(shards(100)))
    assert fleet.starts == {0: 3 * ACTORS_PER_NODE}
    assert fleet.now() > 12, "pauses of 2 and 10 s"


def test_a_run_ends_if_none_of_its_actors_can_start_again() -> None:
    fleet = SimulatedFleet(nodes=1, deadly={"5.tar"})
    run = coordinate(fleet, actors=1, max_attempts=9).run(shards(100))
    next(run)
    fleet.flaws = {0: "raise"}
    with pytest.raises(EngineError, match=r"no actor is left, .* run the same command again"):
        list(run)


def test_a_hanging_shard_is_noticed_by_missing_progress() -> None:
    tasks = shards(100)
    hanging = {"5.tar", "50.tar"}
    fleet = SimulatedFleet(hanging=hanging)
    coordinator = coordinate(fleet, 8, max_attempts=2, shard_timeout=3600, stall_timeout=60)
    failed = failures(list(coordinator.run(tasks)), tasks)
    assert {failure.reason for failure in failed.values()} == {"made no progress for 60 s"}
    assert failed.keys() == hanging
    assert fleet.now() < 600


def test_a_driver_that_was_held_up_blames_no_actor() -> None:
    tasks = shards(300)
    fleet = SimulatedFleet(overlaps=True)
    outcomes: list[Outcome] = []
    for outcome in coordinate(fleet, 8, max_attempts=1, stall_timeout=60).run(tasks):
        outcomes.append(outcome)
        if len(outcomes) % 50 == 0:
            fleet.wait((), 1000)  # say by a store that takes nothing
    assert not failures(outcomes, tasks)


def test_actors_whose_progress_cannot_be_read_are_not_blamed() -> None:
    class Unread(SimulatedFleet):
        def progress(self) -> None:
            return None

    tasks = shards(20)
    fleet = Unread(shard_seconds=lambda random, actors: 300.0)
    assert not failures(list(coordinate(fleet, 8, stall_timeout=60).run(tasks)), tasks)


def test_actors_that_wait_for_nodes_keep_no_work_from_the_others() -> None:
    fleet = SimulatedFleet(nodes=1)
    assert len(list(coordinate(fleet, actors=16).run(shards(400)))) == 400
    assert fleet.queued > 300, "a second shard was there before the first was done"
