"""Two machines with a GPU each: number and places of actors, and their messages."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from urllib.request import urlopen

import pytest
import ray
from ray.cluster_utils import Cluster

from shardsift.engine.actor import Place, Ready
from shardsift.engine.cluster import (
    check_gpu,
    choose_actors,
    connected,
    fitting_actors,
    share_of_cores,
)
from shardsift.engine.fleet import RayFleet
from shardsift.errors import ConfigError
from shardsift.runs.scoring import ScoringSpec
from shardsift.shards.plan import plan_shards
from tests.fakes import FakeScorer
from tests.ports import free_ports
from tests.samples import encoded, write_shards, write_tar


@pytest.fixture(scope="module", autouse=True)
def metrics_ports() -> Iterator[list[int]]:
    """The cluster; where each of its nodes answers Prometheus."""
    ray.shutdown()  # another module may have left its own
    ports = free_ports(2)
    node: dict[str, Any] = {"num_cpus": 4, "num_gpus": 1}
    often = {"metrics_report_interval_ms": 500}
    first = node | {"metrics_export_port": ports[0], "_system_config": often}
    cluster = Cluster(initialize_head=True, head_node_args=first)
    cluster.add_node(**node, metrics_export_port=ports[1])
    ray.init(address=cluster.address, log_to_driver=False)
    cluster.wait_for_nodes()
    yield ports
    ray.shutdown()
    cluster.shutdown()


def make_fleet(output: str, gpus_per_actor: float) -> RayFleet:
    return RayFleet(
        ScoringSpec(
            make_scorer=FakeScorer,
            output=output,
            decode_workers=0,
            gpus=gpus_per_actor,
            cpus=1,
        )
    )


@pytest.mark.parametrize(
    ("gpus", "cpus", "actors"),
    [(1, 1, 2), (0.5, 1, 4), (0.4, 1, 4), (2, 1, 0), (0, 1, 8), (0, 3, 2), (1, 5, 0)],
)
def test_actors_that_fit(gpus: float, cpus: float, actors: int) -> None:
    assert fitting_actors(gpus, cpus) == actors


@pytest.mark.parametrize(
    ("wanted", "gpus", "cores"),
    [(None, 1, 4), (None, 0.5, 2), (None, 0.4, 2), (1, 0.5, 4), (None, 2, 1), (None, 0, 1)],
)
def test_actors_share_the_cores_of_the_machine_with_their_gpu(
    wanted: int | None, gpus: float, cores: int
) -> None:
    assert share_of_cores(wanted, gpus) == cores
    if gpus <= 1:
        assert fitting_actors(gpus, cores) >= (wanted or 2)


def test_as_many_as_fit_are_chosen_and_no_more() -> None:
    assert choose_actors(None, 1, 1) == 2
    assert choose_actors(1, 1, 1) == 1
    with pytest.raises(ConfigError, match="the cluster holds 2 of 1 GPU"):
        choose_actors(3, 1, 1)


def test_too_large_an_actor_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="--gpus-per-actor 0"):
        choose_actors(None, 3, 1)
    with pytest.raises(ConfigError, match="--cpus-per-actor"):
        choose_actors(None, 0, 9)


def test_a_ray_that_runs_already_is_used_and_left_running() -> None:
    with connected(None):
        assert fitting_actors(1, 1) == 2
    assert ray.is_initialized()


def test_a_cluster_may_have_gpus_where_this_machine_has_none() -> None:
    check_gpu(None, 1)


@pytest.mark.parametrize(("gpus_per_actor", "actors_per_gpu"), [(1, 1), (0.5, 2)])
def test_an_actor_has_its_gpu_or_shares_it_as_it_was_told(
    gpus_per_actor: float, actors_per_gpu: int
) -> None:
    fleet = make_fleet("unused", gpus_per_actor)
    actors = [fleet.start_actor(()) for _ in range(2 * actors_per_gpu)]
    calls = [fleet.place(actor) for actor in actors]
    places = [cast(Place, fleet.answer(call)) for call in calls]
    for actor in actors:
        fleet.stop(actor)
    sharing = Counter((place.node_id, place.gpu_ids) for place in places)
    assert list(sharing.values()) == [actors_per_gpu] * 2
    assert len({node for node, _ in sharing}) == 2
    assert len({place.pid for place in places}) == len(actors)


def test_prometheus_hears_of_shards_and_images_but_of_none_by_name(
    metrics_ports: list[int], tmp_path: Path
) -> None:
    write_shards(tmp_path / "in", 2, samples=3)
    write_tar(tmp_path / "in" / "bad.tar", [("1.jpg", encoded()[:900]), ("2.txt", b"")])
    (tmp_path / "in" / "cut.tar").write_bytes(b"<html>503</html>" * 64)
    fleet = make_fleet(str(tmp_path / "out"), 1)
    actor = fleet.start_actor(())
    assert isinstance(fleet.answer(fleet.ready(actor)), Ready)
    for task in plan_shards([str(tmp_path / "in")]):
        fleet.answer(fleet.process(actor, task))
    expected = {
        'ray_shardsift_shards_total{status="committed"}': 3,
        'ray_shardsift_shards_total{status="failed"}': 1,
        'ray_shardsift_images_total{status="scored"}': 6,
        'ray_shardsift_images_total{status="truncated"}': 1,
        'ray_shardsift_images_total{status="missing_image"}': 1,
        "ray_shardsift_shard_seconds_count{}": 3,
    }
    deadline = time.monotonic() + 60
    while not expected.items() <= (heard := by_status(lines := exported(metrics_ports))).items():
        assert time.monotonic() < deadline, heard
        time.sleep(0.2)
    names = [task.shard for task in plan_shards([str(tmp_path / "in")])]
    assert not [line for line in lines if any(name in line for name in names)]
    fleet.stop(actor)


def exported(ports: list[int]) -> list[str]:
    """Our lines on all nodes, with all their tags."""
    lines: list[str] = []
    for port in ports:
        with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            lines += answer.read().decode().splitlines()
    return [line for line in lines if line.startswith("ray_shardsift_")]


def by_status(lines: list[str]) -> dict[str, float]:
    """Values of the lines, named without Ray's own tags."""
    found: dict[str, float] = {}
    for line in lines:
        series, _, value = line.rpartition(" ")
        status = re.findall(r'\bstatus="[^"]*"', series)
        found[f"{series.partition('{')[0]}{{{','.join(status)}}}"] = float(value)
    return found
