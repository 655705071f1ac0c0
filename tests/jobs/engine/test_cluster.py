"""Two machines with a GPU each: how many actors fit, and where they sit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
import ray
from ray.cluster_utils import Cluster

from jobs.engine.actor import ActorSettings, Place
from jobs.engine.cluster import check_gpu, choose_actors, connected, fitting_actors
from jobs.engine.fleet import RayFleet
from pipeline.annotate import AnnotateSettings
from pipeline.errors import ConfigError
from tests.fakes import FakeScorer


@pytest.fixture(scope="module", autouse=True)
def _two_nodes() -> Iterator[None]:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "num_gpus": 1})
    cluster.add_node(num_cpus=4, num_gpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    cluster.wait_for_nodes()
    yield
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.parametrize(
    ("gpus", "cpus", "actors"),
    [(1, 1, 2), (0.5, 1, 4), (0.4, 1, 4), (2, 1, 0), (0, 1, 8), (0, 3, 2), (1, 5, 0)],
)
def test_actors_that_fit(gpus: float, cpus: float, actors: int) -> None:
    assert fitting_actors(gpus, cpus) == actors


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
    settings = ActorSettings(
        make_scorer=FakeScorer,
        annotate=AnnotateSettings(
            output="unused",
            fingerprint=FakeScorer.fingerprint,
            config={},
            decode_threads=1,
            max_pixels=1,
        ),
        gpus=gpus_per_actor,
        cpus=1,
    )
    fleet = RayFleet(settings)
    actors = [fleet.start_actor() for _ in range(2 * actors_per_gpu)]
    gates = [fleet.ready(actor) for actor in actors]
    places = [fleet.answer(gate) for gate in gates]
    for actor in actors:
        fleet.stop(actor)
    sharing = Counter(
        (place.node_id, place.gpu_ids) for place in places if isinstance(place, Place)
    )
    assert list(sharing.values()) == [actors_per_gpu] * 2
    assert len({node for node, _ in sharing}) == 2
    assert len({place.pid for place in places if isinstance(place, Place)}) == len(actors)
