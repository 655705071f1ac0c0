"""A cluster on which things break: nothing is lost, nothing is doubled, no value changes.

Run with `-s` to see what `docs/explanation/reliability.md` states of each fault.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import pyarrow.parquet as pq
import pytest
import ray
from ray.cluster_utils import Cluster

from shardsift.annotations.annotate import annotate
from shardsift.engine.actor import Place
from shardsift.engine.cluster import fitting_actors
from shardsift.engine.coordinator import Coordinator, Outcome
from shardsift.engine.fleet import RayFleet
from shardsift.outputs.output_folder import OutputFolder
from shardsift.outputs.run_folder import failed_name
from shardsift.records import FailedShard, ShardReport, ShardTask
from shardsift.runs.scoring import ScoringSpec
from shardsift.shards.plan import ShardPlan, plan_shards
from tests.fakes import TRAP_WIDTH, FakeScorer, Harm, SlowScorer, TrappedScorer
from tests.samples import encoded, write_shards, write_tar

pytestmark = pytest.mark.skipif(
    "SHARDSIFT_TEST_CHAOS" not in os.environ, reason="make chaos runs it: it depends on timing"
)

SHARDS, SAMPLES = 16, 2
POISON = "00005.tar"
NODE: dict[str, Any] = {"num_cpus": 2, "num_gpus": 2}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Two machines with two GPUs each; the driver sits on the first."""
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    cluster.add_node(**NODE)
    ray.init(address=cluster.address, log_to_driver=False)
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@dataclass
class Disturbed:
    """A run of fake scorers over a plan, with its output."""

    plan: ShardPlan
    folder: Path

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def start(
        self, actors: int, make_scorer: Callable[[], FakeScorer] = SlowScorer, attempts: int = 2
    ) -> Coordinator:
        spec = ScoringSpec(
            make_scorer=make_scorer,
            output=str(self.out),
            decode_workers=0,
            gpus=1,
            cpus=1,
        )
        return Coordinator(
            RayFleet(spec),
            actors,
            max_attempts=attempts,
            shard_timeout=60,
            find_committed=nothing_committed,
        )

    def finish(self, run: Iterator[Outcome], outcomes: list[Outcome]) -> None:
        """Take the run to its end, as `score` does."""
        self.out.mkdir(exist_ok=True)
        for outcome in run:
            outcomes.append(outcome)
        folder = OutputFolder(str(self.out))
        for outcome in outcomes:
            if isinstance(outcome, FailedShard):
                folder.write_failed(outcome)
        folder.sweep()

    def check(self, outcomes: list[Outcome]) -> None:
        """Every shard has one outcome, and its file or its record; values are the undisturbed."""
        assert sorted(outcome.shard for outcome in outcomes) == [task.shard for task in self.plan]
        undisturbed = self.folder / "undisturbed"
        for task in self.plan:
            annotation, record = self.out / task.annotation, self.out / failed_name(task.shard)
            assert annotation.exists() != record.exists(), task.shard
            if annotation.exists():
                annotate(task, FakeScorer(), str(undisturbed))
                assert annotation.read_bytes() == (undisturbed / task.annotation).read_bytes()
        rows = pq.read_table(self.out, columns=["shard", "index"]).to_pylist()
        assert len({(row["shard"], row["index"]) for row in rows}) == len(rows)
        assert not list(self.out.rglob("*.tmp"))


@pytest.fixture
def disturbed(tmp_path: Path) -> Disturbed:
    folder = write_shards(tmp_path / "in", SHARDS, SAMPLES)
    return Disturbed(plan_shards([str(folder)]), tmp_path)


def nothing_committed(task: ShardTask) -> ShardReport | None:
    return None


def until(
    coordinator: Coordinator,
    run: Iterator[Outcome],
    met: Callable[[list[Place]], bool],
) -> list[Outcome]:
    """Outcomes up to the moment when the places of ready actors are as wanted."""
    outcomes: list[Outcome] = []
    while not met(coordinator.places):
        outcomes.append(next(run))
    return outcomes


def tell(fault: str, seconds: float) -> None:
    sys.stdout.write(f"\n{fault}: {seconds:.1f} s to recover\n")


def test_a_worker_is_killed(cluster: Cluster, disturbed: Disturbed) -> None:
    coordinator = disturbed.start(2)
    run = coordinator.run(disturbed.plan)
    outcomes = until(coordinator, run, lambda places: len(places) == 2)
    victim = coordinator.places[0].pid
    os.kill(victim, signal.SIGKILL)
    killed = monotonic()

    def is_replaced(places: list[Place]) -> bool:
        return len(places) == 2 and victim not in {place.pid for place in places}

    outcomes += until(coordinator, run, is_replaced)
    tell("kill -9 of a worker", monotonic() - killed)
    disturbed.finish(run, outcomes)
    disturbed.check(outcomes)
    assert all(isinstance(outcome, ShardReport) for outcome in outcomes)
    coordinator.stop()


def test_each_actor_has_a_gpu_of_its_own_and_a_lost_node_costs_no_shard(
    cluster: Cluster, disturbed: Disturbed
) -> None:
    assert fitting_actors(1, 1) == 4
    coordinator = disturbed.start(4, attempts=1)
    run = coordinator.run(disturbed.plan)
    outcomes = until(coordinator, run, lambda places: len(places) == 4)
    places = {(place.node_id, place.gpu_ids) for place in coordinator.places}
    assert len(places) == 4
    assert len({node for node, _ in places}) == 2

    cluster.remove_node(cluster.list_all_nodes()[1], allow_graceful=False)
    lost = monotonic()
    assert len(outcomes) < SHARDS - 4, "the node has to go away in the middle of the run"
    disturbed.finish(run, outcomes)
    tell("hard loss of a node (to the end of the run)", monotonic() - lost)
    disturbed.check(outcomes)
    assert all(isinstance(outcome, ShardReport) for outcome in outcomes)
    coordinator.stop()


def test_a_node_that_joins_later_is_put_to_use(cluster: Cluster, disturbed: Disturbed) -> None:
    cluster.remove_node(cluster.list_all_nodes()[1], allow_graceful=True)
    coordinator = disturbed.start(4)  # twice what fits
    run = coordinator.run(disturbed.plan)
    outcomes = until(coordinator, run, lambda places: len(places) == 2)
    cluster.add_node(**NODE)
    joined = monotonic()
    outcomes += until(coordinator, run, lambda places: len(places) > 2)
    tell("a node joins (to its first actor)", monotonic() - joined)
    disturbed.finish(run, outcomes)
    disturbed.check(outcomes)
    assert len({place.node_id for place in coordinator.places}) == 2
    coordinator.stop()


def test_a_node_is_preempted(cluster: Cluster, disturbed: Disturbed) -> None:
    coordinator = disturbed.start(4, attempts=1)  # an attempt of its own would fail the shard
    run = coordinator.run(disturbed.plan)
    outcomes = until(coordinator, run, lambda places: len(places) == 4)
    node = cluster.list_all_nodes()[1]
    drain(str(cluster.address), node.node_id)
    drained = monotonic()
    outcomes.append(next(run))  # Ray starts no actors on a draining node; running ones continue
    cluster.remove_node(node, allow_graceful=False)
    disturbed.finish(run, outcomes)
    tell("preemption of a node (to the end of the run)", monotonic() - drained)
    disturbed.check(outcomes)
    assert all(isinstance(outcome, ShardReport) for outcome in outcomes)
    coordinator.stop()


def drain(address: str, node_id: str) -> None:
    """Announce, as a cloud does, that a machine goes away in a second."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", address]
    command += ["--node-id", node_id, "--reason", "DRAIN_NODE_REASON_PREEMPTION"]
    command += ["--reason-message", "spot", "--deadline-remaining-seconds", "1"]
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.parametrize("harm", ["die", "exhaust"])
def test_a_poisonous_shard_is_given_up_and_the_rest_finishes(
    harm: Harm, cluster: Cluster, disturbed: Disturbed
) -> None:
    write_tar(disturbed.folder / "in" / POISON, [("trap.jpg", encoded(width=TRAP_WIDTH))])
    trap = partial(TrappedScorer, folder=disturbed.folder, harm=harm)
    coordinator = disturbed.start(2, trap)
    started = monotonic()
    outcomes: list[Outcome] = []
    disturbed.finish(coordinator.run(disturbed.plan), outcomes)
    tell(f"a shard whose scoring makes a worker {harm} (whole run)", monotonic() - started)
    disturbed.check(outcomes)
    (failed,) = [outcome for outcome in outcomes if isinstance(outcome, FailedShard)]
    assert (failed.shard, failed.attempts) == (POISON, 2)
    coordinator.stop()
