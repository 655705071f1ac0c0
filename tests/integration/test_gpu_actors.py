"""Actors on GPUs of their own, killed on the way: `make gpu-ray`, with DEVICE=cpu on CPUs."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest
import ray

from shardsift.annotations.annotate import annotate
from shardsift.config import RunConfig
from shardsift.engine.coordinator import Coordinator, Outcome
from shardsift.engine.fleet import RayFleet
from shardsift.outputs.sealed_table import read
from shardsift.records import FailedShard
from shardsift.runs.scoring import ScoringSpec, load_maclip
from shardsift.shards.plan import plan_shards
from tests.samples import write_shards

IS_GPU = os.environ.get("SHARDSIFT_TEST_DEVICE", "cpu") != "cpu"
MOST_ACTORS = 8

pytestmark = pytest.mark.skipif(
    "SHARDSIFT_TEST_DEVICE" not in os.environ, reason="make gpu-ray runs it: half a minute"
)


@pytest.fixture(scope="module")
def actors(request: pytest.FixtureRequest) -> int:
    """As many as there are GPUs, or two on CPUs."""
    if not IS_GPU:
        request.getfixturevalue("local_ray")
        return 2
    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    return min(MOST_ACTORS, int(ray.cluster_resources()["GPU"]))


def test_actors_are_pinned_and_score_alike_though_they_are_killed(
    actors: int, tmp_path: Path
) -> None:
    plan = plan_shards([str(write_shards(tmp_path / "in", 4 * actors, samples=4))])
    config = RunConfig(model="compact", gpus_per_actor=float(IS_GPU), cpus_per_actor=1)
    model = load_maclip(config)
    spec = ScoringSpec(
        make_scorer=partial(model.scorer, config, "cuda" if IS_GPU else "cpu"),
        output=str(tmp_path / "out"),
        decode_workers=0,
        gpus=config.gpus_per_actor,
        cpus=1,
    )
    coordinator = Coordinator(
        RayFleet(spec), actors, max_attempts=2, shard_timeout=300, find_committed=lambda _: None
    )
    try:
        deadline = time.monotonic() + 300
        while len(coordinator.places) < actors and time.monotonic() < deadline:
            list(coordinator.run(plan))
        places = coordinator.places
        assert len(places) == len({place.pid for place in places}) == actors
        if IS_GPU:
            assert len({(place.node_id, place.gpu_ids) for place in places}) == actors
        run = coordinator.run(plan)
        outcomes: list[Outcome] = [next(run)]
        for place in places:
            os.kill(place.pid, signal.SIGKILL)
        outcomes += run
        assert sorted(outcome.shard for outcome in outcomes) == [task.shard for task in plan]
        assert not any(isinstance(outcome, FailedShard) for outcome in outcomes)
    finally:
        coordinator.stop()
    scorer = model.scorer(config, "cuda" if IS_GPU else "cpu")
    for task in plan:
        annotate(task, scorer, str(tmp_path / "alone"))
        pair = (read(str(tmp_path / folder / task.annotation)) for folder in ("out", "alone"))
        one, other = (table.to_pylist() for table in pair)
        assert one == other
