"""Shards survive what happens to actors, and only the guilty shard pays."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray

from shardsift.engine.coordinator import Coordinator, Outcome
from shardsift.engine.fleet import RayFleet
from shardsift.errors import EngineError
from shardsift.records import FailedShard, ShardReport, ShardTask
from shardsift.runs.scoring import ScoringSpec
from shardsift.shards.plan import plan_shards
from shardsift.storage.files import is_annotation, list_files
from tests.fakes import TRAP_WIDTH, FakeScorer, Harm, SlowScorer, TrappedScorer, fail_to_start
from tests.samples import encoded, write_shards, write_tar

SHARDS = 8
TRAP = "00002.tar"

Start = Callable[..., Coordinator]


pytestmark = pytest.mark.usefixtures("local_ray")

in_time = pytest.mark.skipif(
    "SHARDSIFT_TEST_CHAOS" not in os.environ,
    reason="make chaos runs it, for it waits for timeouts; test_scale has it on virtual time",
)


@pytest.fixture
def tasks(tmp_path: Path) -> list[ShardTask]:
    """Small shards; one of them holds the image that springs traps."""
    folder = write_shards(tmp_path / "in", SHARDS, samples=3)
    write_tar(folder / TRAP, [("trap.jpg", encoded(width=TRAP_WIDTH))])
    return list(plan_shards([str(folder)]))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a coordinator over two actors with a scorer; they are released afterwards."""
    started: list[Coordinator] = []

    def start(make_scorer: Callable[[], FakeScorer], **options: Any) -> Coordinator:
        spec = ScoringSpec(
            make_scorer=make_scorer,
            output=str(tmp_path / "out"),
            decode_workers=0,
            gpus=1,
            cpus=1,
        )
        defaults: dict[str, Any] = {"max_attempts": 3, "shard_timeout": 60.0}
        defaults["start_pauses"] = (0.1, 0.2)
        defaults["find_committed"] = nothing_committed
        started.append(Coordinator(RayFleet(spec), 2, **(defaults | options)))
        return started[-1]

    yield start
    for coordinator in started:
        coordinator.stop()


def nothing_committed(task: ShardTask) -> ShardReport | None:
    return None


def trapped(folder: Path, harm: Harm, times: int = 1_000_000) -> Callable[[], FakeScorer]:
    return partial(TrappedScorer, folder=folder, harm=harm, times=times)


def run_until_both_are_there(coordinator: Coordinator, tasks: list[ShardTask]) -> None:
    """A quick actor may do all shards of a run before a slow one is there."""
    deadline = time.monotonic() + 120
    while len(coordinator.places) < 2 and time.monotonic() < deadline:
        list(coordinator.run(tasks))


def check_outcomes(outcomes: list[Outcome], tasks: list[ShardTask], out: Path) -> None:
    """Each shard has one outcome, and those that didn't fail have their file."""
    assert sorted(outcome.shard for outcome in outcomes) == [task.shard for task in tasks]
    scored = {outcome.shard for outcome in outcomes if isinstance(outcome, ShardReport)}
    names = filter(is_annotation, list_files(str(out)))
    files = {name.replace(".parquet", ".tar") for name in names}
    assert scored == files


def test_every_shard_gets_an_outcome(start: Start, tasks: list[ShardTask], tmp_path: Path) -> None:
    outcomes = list(start(FakeScorer).run(tasks))
    check_outcomes(outcomes, tasks, tmp_path / "out")
    assert not any(isinstance(outcome, FailedShard) for outcome in outcomes)


def test_a_shard_is_tried_again(start: Start, tasks: list[ShardTask], tmp_path: Path) -> None:
    outcomes = list(start(trapped(tmp_path, "raise", times=2)).run(tasks))
    check_outcomes(outcomes, tasks, tmp_path / "out")
    assert not any(isinstance(outcome, FailedShard) for outcome in outcomes)
    assert len(list(tmp_path.glob("sprung-*"))) == 2


def test_only_the_guilty_shard_is_given_up(
    start: Start, tasks: list[ShardTask], tmp_path: Path
) -> None:
    outcomes = list(start(trapped(tmp_path, "die"), max_attempts=2).run(tasks))
    check_outcomes(outcomes, tasks, tmp_path / "out")
    (failed,) = [outcome for outcome in outcomes if isinstance(outcome, FailedShard)]
    assert (failed.shard, failed.attempts) == (TRAP, 2)
    assert "actor" in failed.reason
    assert len(list(tmp_path.glob("sprung-*"))) in (2, 3), "once more if it had company"


def test_a_shard_that_cant_be_read_costs_attempts_but_no_actor(
    start: Start, tasks: list[ShardTask], tmp_path: Path
) -> None:
    coordinator = start(FakeScorer)
    run_until_both_are_there(coordinator, tasks)
    before = coordinator.places
    Path(tasks[0].url).write_bytes(b"<html>503</html>" * 64)
    (tmp_path / "out" / tasks[0].annotation).unlink()
    outcomes = list(coordinator.run(tasks))
    check_outcomes(outcomes, tasks, tmp_path / "out")
    (failed,) = [outcome for outcome in outcomes if isinstance(outcome, FailedShard)]
    assert (failed.shard, failed.attempts) == (tasks[0].shard, 3)
    assert coordinator.places == before


def test_a_shard_committed_by_a_dying_actor_isnt_scored_again(
    start: Start, tasks: list[ShardTask], tmp_path: Path
) -> None:
    committed = ShardReport(shard=TRAP, rows=1)

    def find_committed(task: ShardTask) -> ShardReport | None:
        return committed if task.shard == TRAP else None

    coordinator = start(trapped(tmp_path, "die"), max_attempts=1, find_committed=find_committed)
    outcomes = list(coordinator.run(tasks))
    assert committed in outcomes
    assert len(outcomes) == SHARDS
    assert len(list(tmp_path.glob("sprung-*"))) == 1


def test_an_actor_that_ray_wont_restart_is_replaced(
    start: Start, tasks: list[ShardTask], tmp_path: Path
) -> None:
    coordinator = start(FakeScorer)
    run = coordinator.run(tasks)
    first = next(run)
    for slot in coordinator._slots:  # pyright: ignore[reportPrivateUsage]  # nobody else may kill
        ray.kill(slot.actor)
    outcomes = [first, *run]
    check_outcomes(outcomes, tasks, tmp_path / "out")


@in_time
def test_an_actor_that_makes_no_progress_is_started_anew(
    start: Start, tasks: list[ShardTask], tmp_path: Path
) -> None:
    coordinator = start(trapped(tmp_path, "hang"), max_attempts=1, stall_timeout=4.0)
    outcomes = list(coordinator.run(tasks))
    check_outcomes(outcomes, tasks, tmp_path / "out")
    (failed,) = [outcome for outcome in outcomes if isinstance(outcome, FailedShard)]
    assert (failed.shard, failed.reason) == (TRAP, "made no progress for 4 s")


@in_time
def test_a_slow_shard_that_makes_progress_is_left_alone(
    start: Start, tasks: list[ShardTask], tmp_path: Path
) -> None:
    write_tar(Path(tasks[0].url), [(f"{n}.jpg", encoded()) for n in range(20)])
    coordinator = start(SlowScorer, max_attempts=1, stall_timeout=2.0)  # five seconds in all
    outcomes = list(coordinator.run(tasks))
    check_outcomes(outcomes, tasks, tmp_path / "out")
    assert not any(isinstance(outcome, FailedShard) for outcome in outcomes)


@in_time
@pytest.mark.parametrize(
    ("harm", "reason"), [("raise", "these weights are broken"), ("die", "actor")]
)
def test_a_run_ends_if_no_actor_can_start(
    harm: Harm, reason: str, start: Start, tasks: list[ShardTask]
) -> None:
    with pytest.raises(
        EngineError, match=r"^no actor can start, .* on node .*, GPU [01]: "
    ) as caught:
        list(start(partial(fail_to_start, harm)).run(tasks))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@in_time
def test_one_bad_gpu_is_given_up_and_the_run_goes_on(
    start: Start,
    tasks: list[ShardTask],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def with_a_bad_gpu() -> FakeScorer:
        is_bad = os.environ["CUDA_VISIBLE_DEVICES"] == "0"
        return fail_to_start("raise") if is_bad else FakeScorer()

    coordinator = start(with_a_bad_gpu)
    given_up, outcomes = list[str](), list[Outcome]()
    deadline = time.monotonic() + 120
    while not given_up and time.monotonic() < deadline:
        outcomes = list(coordinator.run(tasks))
        given_up = [line for line in caplog.messages if line.startswith("gave up an actor")]
    check_outcomes(outcomes, tasks, tmp_path / "out")
    assert not any(isinstance(outcome, FailedShard) for outcome in outcomes)
    assert [place.gpu_ids for place in coordinator.places] == [("1",)]
    assert ", GPU 0 after 3 starts: ValueError: these weights are broken; 1 left" in given_up[0]
