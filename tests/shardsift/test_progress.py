"""Counts are true, and so is the time that is left."""

from __future__ import annotations

from threading import Thread

import pytest

from shardsift.progress import (
    ActorProgress,
    Course,
    Meter,
    Pace,
    ShardProgress,
    Snapshot,
    time_left,
)


def test_a_meter_knows_the_shards_under_way_and_forgets_those_that_have_ended() -> None:
    meter = Meter()
    with meter.shard("a.tar", 1000) as first, meter.shard("b.tar", 10):
        first.begin([300, 600])
        ending = first.ending(["one", "two"])
        assert next(ending) == "one"
        first.add_errors(1)
        assert meter.read().shards == {
            "a.tar": ShardProgress(300, 1000, 2, 1),
            "b.tar": ShardProgress(0, 10, 0, 0),
        }
        assert list(ending) == ["two"]
        assert meter.read().shards["a.tar"] == ShardProgress(600, 1000, 3, 1)
        assert meter.read().steps == 2
    assert meter.read() == ActorProgress(2, {})


def test_a_meter_forgets_a_shard_that_failed() -> None:
    meter = Meter()
    with pytest.raises(OSError, match="lost"), meter.shard("a.tar", 1):
        raise OSError("lost")
    assert meter.read().shards == {}


def test_steps_add_up_from_all_threads() -> None:
    meter = Meter()
    threads = [Thread(target=lambda: list(meter.passing(range(10_000)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert meter.read().steps == 40_000


def paced(*marks: tuple[float, int], workers: int = 2) -> Pace:
    """A pace with these numbers of items at these seconds, of 10 bytes each."""
    pace = Pace()
    for seconds, items in marks:
        pace.mark(seconds, items, 10.0 * items, workers)
    return pace


def test_before_anything_is_done_no_speed_is_claimed() -> None:
    for pace in (Pace(), paced((0, 0)), paced((0, 0), (5, 0))):
        assert (pace.items, pace.work, pace.work_each) == (None, None, None)


def test_speed_is_that_of_the_last_minute() -> None:
    slow_then_fast = [(float(s), s) for s in range(100)]
    slow_then_fast += [(100.0 + s, 100 + 5 * s) for s in range(90)]
    pace = paced(*slow_then_fast)
    assert pace.items == pytest.approx(5)
    assert pace.work == pytest.approx(50)
    assert pace.work_each == pytest.approx(25)


def test_speed_does_not_fall_while_a_batch_is_under_way() -> None:
    lumps = [(0.0, 0), (8.0, 16), (16.0, 32)]
    assert paced(*lumps, (23.0, 32)).items == paced(*lumps).items == pytest.approx(2)
    assert paced(*lumps, (23.0, 32)).since_mark == 7


def test_speed_falls_when_nothing_comes_for_long() -> None:
    standing = paced((0.0, 0), (10.0, 20), (25.0, 20), (40.0, 20)).items
    assert standing == pytest.approx(0.5)


def test_a_shard_that_begins_anew_does_not_make_speed_negative() -> None:
    again = paced((0.0, 0), (10.0, 100), (20.0, 40), (31.0, 50), (35.0, 70), (39.0, 90))
    assert again.items == pytest.approx(40 / 8)


@pytest.mark.parametrize(
    ("loads", "waiting", "seconds"),
    [
        ([10], 0, 10),
        ([10, 2], 0, 10),
        ([10, 2], 1, 12),  # the second takes it
        ([0, 0], 5, 30),  # three rounds, in the last of which one is idle
        ([], 3, 30),
        ([0] * 4, 4000, 10_000),
    ],
)
def test_time_left_is_that_of_the_last_worker(
    loads: list[float], waiting: int, seconds: float
) -> None:
    assert time_left(loads, waiting, size=10, speed=1) == seconds


def test_a_course_tells_share_total_and_time_left() -> None:
    now = 0.0
    course = Course("selecting", total=10, clock=lambda: now)
    assert course.snapshot() == Snapshot(doing="selecting", share=0.0, items=0, total=10)
    for second in range(1, 5):
        now = float(second)
        course.step()
        course.snapshot()
    shown = course.snapshot()
    assert (shown.share, shown.items, shown.total, shown.is_estimate) == (0.4, 4, 10, False)
    assert (shown.rate, shown.left) == (pytest.approx(1), pytest.approx(6))


def test_a_course_of_unknown_length_estimates_it_from_the_share() -> None:
    now = 0.0
    course = Course("scoring", noun="images", clock=lambda: now)
    course.snapshot()
    for second in range(1, 31):
        now = float(second)
        course.step(share=second / 120)
        course.snapshot()
    shown = course.snapshot()
    assert (shown.total, shown.is_estimate) == (120, True)
    assert shown.left == pytest.approx(90)
    course.begin("computing statistics")
    shown = course.snapshot()
    assert (shown.doing, shown.share, shown.left, shown.noun) == (
        "computing statistics",
        None,
        None,
        "",
    )
