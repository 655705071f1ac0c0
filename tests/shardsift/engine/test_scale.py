"""The real coordinator on simulated actors: a large cluster for hours, in seconds.

`make scale` runs it with a million shards on a thousand actors, and prints what
`docs/reliability.md` states.
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

from shardsift.annotations.manifest import ManifestWriter
from shardsift.engine.coordinator import Coordinator, Outcome
from shardsift.records import FailedShard, ShardReport, ShardTask
from shardsift.shards.plan import plan_shards
from tests.shardsift.engine.simulated import ACTORS_PER_NODE, MEAN_SECONDS, SimulatedFleet

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
    number = int(os.environ.get("SHARDSIFT_SHARDS", SHARDS))
    actors = int(os.environ.get("SHARDSIFT_ACTORS", ACTORS))
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


def test_of_two_shards_in_an_actor_none_pays_until_it_fails_alone() -> None:
    tasks = shards()
    deadly = {task.shard for task in tasks[7::50]}
    hanging = {task.shard for task in tasks[11::1000]}
    fleet = SimulatedFleet(deadly=deadly, hanging=hanging, overlaps=True)
    failed = failures(list(coordinate(fleet).run(tasks)), tasks)
    assert failed.keys() == deadly | hanging
    assert {failure.attempts for failure in failed.values()} == {3}
    # Once in company, or again if it was taken from a lane that another one had emptied.
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
