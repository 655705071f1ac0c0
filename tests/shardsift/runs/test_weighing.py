"""What a shard will cost is known from the first pictures of its part."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from shardsift.engine.weights import kind_of
from shardsift.runs.weighing import weigh
from shardsift.shards.plan import plan_shards
from tests.samples import encoded, write_tar


def corpus(folder: Path) -> Path:
    """Two parts: pictures of ten views, and of one."""
    for number in range(2):
        large = [(f"{n}.jpg", encoded(width=512, height=512, seed=n)) for n in range(3)]
        write_tar(folder / "large" / f"{number:05}.tar", large)
        small = [(f"{n}.jpg", encoded(width=64, height=64, seed=n)) for n in range(9)]
        write_tar(folder / "small" / f"{number:05}.tar", small)
    return folder


def test_a_byte_of_each_part_has_its_own_work(tmp_path: Path) -> None:
    weights = weigh(plan_shards([str(corpus(tmp_path))]), "paper")
    assert weights
    sizes = {
        part: (tmp_path / part / "00000.tar").stat().st_size * 2 for part in ("large", "small")
    }
    rates = {part: weights.rate_of(kind_of(f"{part}/00000.tar")) for part in sizes}
    assert weights.total == pytest.approx(sum(rates[part] * sizes[part] for part in sizes))
    assert weights.items_left({}) == pytest.approx(2 * (3 + 9), rel=0.4)
    # The two zero blocks at the end are no picture's.
    assert rates["large"] * sizes["large"] == pytest.approx(2 * 3 * 10, rel=0.3)
    assert rates["small"] * sizes["small"] == pytest.approx(2 * 9, rel=0.4)


def test_of_a_store_the_first_shard_of_each_part_tells(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(corpus(tmp_path / "in")), "/weighed", recursive=True)
    try:
        there = weigh(plan_shards(["memory://weighed"]), "paper")
    finally:
        memory.rm("/weighed", recursive=True)
    here = weigh(plan_shards([str(tmp_path / "in")]), "paper")
    assert there
    assert here
    assert there.total == pytest.approx(here.total, rel=0.05)


def test_what_cannot_be_read_is_not_weighed(tmp_path: Path) -> None:
    (tmp_path / "0.tar").write_bytes(b"no tar")
    assert weigh(plan_shards([str(tmp_path)]), "paper") is None
