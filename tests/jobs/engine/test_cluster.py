"""How many actors fit, told before anything is started."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import ray

from jobs.engine.cluster import choose_actors, connected, fitting_actors
from pipeline.errors import ConfigError


@pytest.fixture(scope="module", autouse=True)
def _machine() -> Iterator[None]:
    ray.init(address="local", num_cpus=8, num_gpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.parametrize(
    ("gpus", "cpus", "actors"),
    [(1, 1, 2), (0.5, 1, 4), (2, 1, 1), (0.4, 1, 4), (0, 1, 8), (0, 3, 2), (1, 5, 1), (3, 1, 0)],
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
