"""Which sample gets into which tar: all in order, none twice, and no tar larger than asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardsift.errors import OutputError
from shardsift.resharding.packing import SHARD_FORMATS, Packer, ReshardPlan, read_plan
from shardsift.storage.files import commit

Kept = Mapping[str, Sequence[tuple[str, int]]]
"""Keys and bytes of the kept samples of each source shard; every second one is kept."""


def pack(kept: Kept, max_samples: int | None = None, max_bytes: int | None = None) -> ReshardPlan:
    packer = Packer(max_samples=max_samples, max_bytes=max_bytes)
    for shard, samples in kept.items():
        index_N = np.arange(0, 2 * len(samples), 2, dtype=np.int32)
        keys = pa.array([key for key, _ in samples], pa.string())
        packer.add(shard, index_N, keys, [size for _, size in samples])
    return packer.plan("/in", "/out", SHARD_FORMATS["tar"])


def contents(plan: ReshardPlan, kept: Kept) -> list[list[tuple[str, str, int]]]:
    """Shard, key and bytes of the samples of each tar."""
    tars: list[list[tuple[str, str, int]]] = []
    for task in plan:
        tars.append([])
        for part in task.segments:
            chosen = kept[part.shard][part.first // 2 : part.last // 2 + 1]
            assert (len(chosen), sum(size for _, size in chosen)) == (part.samples, part.bytes)
            tars[-1] += [(part.shard, key, size) for key, size in chosen]
    return tars


def test_tars_are_filled_one_after_the_other_across_shards() -> None:
    kept = {shard: [(f"{shard}{n}", 10) for n in range(5)] for shard in ("a.tar", "b.tar")}
    plan = pack(kept, max_samples=4)
    assert [len(tar) for tar in contents(plan, kept)] == [4, 4, 2]
    assert [task.shard for task in plan] == ["00000000.tar", "00000001.tar", "00000002.tar"]
    assert [(part.shard, part.url, part.first, part.last) for part in list(plan)[1].segments] == [
        ("a.tar", "/in/a.tar", 8, 8),
        ("b.tar", "/in/b.tar", 0, 4),
    ]
    assert (len(plan), plan.samples) == (3, 10)


def test_a_sample_larger_than_a_tar_has_one_of_its_own() -> None:
    kept = {"a.tar": [("a", 10), ("b", 99), ("c", 10), ("d", 10)]}
    sizes = [[size for *_, size in tar] for tar in contents(pack(kept, max_bytes=20), kept)]
    assert sizes == [[10], [99], [10, 10]]


@pytest.mark.parametrize("shards", [["x", "x", "y"], ["x", "y", "y"]])
def test_neighbours_of_one_key_are_kept_apart(shards: list[str]) -> None:
    """Also where one shard ends and the next begins; there, a reader would merge them."""
    kept = {f"{place}.tar": [(key, 1)] for place, key in enumerate(shards)}
    for tar in contents(pack(kept, max_samples=10), kept):
        keys = [key for _, key, _ in tar]
        assert all(one != other for one, other in pairwise(keys))


SAMPLES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 40)), max_size=12)


@given(
    st.lists(SAMPLES, min_size=1, max_size=5).filter(any),
    st.none() | st.integers(1, 9),
    st.none() | st.integers(1, 90),
)
def test_every_kept_sample_is_planned_once_and_in_order(
    shards: list[list[tuple[str, int]]], max_samples: int | None, max_bytes: int | None
) -> None:
    kept = {f"{place:02}.tar": samples for place, samples in enumerate(shards)}
    tars = contents(pack(kept, max_samples, max_bytes), kept)
    expected = [(shard, key, size) for shard in kept for key, size in kept[shard]]
    assert [sample for tar in tars for sample in tar] == expected
    for tar in tars:
        assert tar
        assert max_samples is None or len(tar) <= max_samples
        assert max_bytes is None or len(tar) == 1 or sum(size for *_, size in tar) <= max_bytes
        assert all(one[1] != other[1] for one, other in pairwise(tar))


def test_a_saved_plan_is_read_as_it_was(tmp_path: Path) -> None:
    plan = pack({"a.tar": [("a", 1), ("b", 2)], "b.tar": [("c", 3)]}, max_samples=2)
    url = str(tmp_path / "_plan.parquet")
    sha256 = hashlib.sha256(plan.encode()).hexdigest()
    commit(url, plan.encode())
    assert list(read_plan(url, sha256, "/in", "/out", SHARD_FORMATS["tar"])) == list(plan)
    commit(url, pack({"a.tar": [("a", 1)]}).encode())
    with pytest.raises(OutputError, match="it doesn't match the record"):
        read_plan(url, sha256, "/in", "/out", SHARD_FORMATS["tar"])
