"""DataComp's subset file, read as its resharder reads it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shardsift.config.filter_settings import FilterConfig
from shardsift.errors import InputError
from shardsift.filtering.database import Database
from shardsift.filtering.kept_folder import UidWriter
from shardsift.filtering.query import curate
from tests.generated import row, write_annotations


def copies(subset: np.ndarray, uid: str) -> int:
    """Count the copies of a sample by the resharder, which looks its uid up by binary search."""
    pair = np.array([divmod(int(uid, 16), 2**64)], "u8,u8")
    left, right = (np.searchsorted(subset, pair, side)[0] for side in ("left", "right"))
    return int(right - left)


def test_the_resharder_copies_each_kept_sample_once(tmp_path: Path) -> None:
    uids = [f"{n:016x}{n * 7 % 256:016x}" for n in range(2**63, 2**63 + 40)]
    samples = [row(n, n / 40, uid=uid.upper() if n % 2 else uid) for n, uid in enumerate(uids)]
    samples += [row(40, 0.9, uid=uids[39]), row(41, 0.9, uid=None), row(42, 0.9, uid="a" * 64)]
    annotations = write_annotations(tmp_path / "scores", {"a.tar": samples})
    settings = FilterConfig(
        annotations=str(annotations), output=str(tmp_path / "kept"), min_quality=0.5, emit=("uids",)
    )
    summary = curate(settings).summary
    told = summary and summary.uids
    subset = np.load(tmp_path / "kept" / "uids.npy", mmap_mode="r")
    assert subset.dtype == np.dtype("u8,u8")
    assert subset.shape == (20,)
    assert [copies(subset, uid) for uid in uids] == [0] * 20 + [1] * 20
    assert told
    assert (told.written, told.repeated, told.without_uid) == (20, 1, 2)
    content = (tmp_path / "kept" / "uids.npy").read_bytes()
    assert told.sha256 == hashlib.sha256(content).hexdigest()
    assert not (tmp_path / "kept" / "keep-list").exists(), "it wasn't asked for"


def test_it_is_what_the_published_recipe_saves(tmp_path: Path) -> None:
    dice = np.random.default_rng(0)
    uids = [dice.bytes(16).hex() for _ in range(5000)]
    with Database() as database:
        writer = UidWriter(database)
        for begin in range(0, 5000, 1000):
            writer.add(pa.array(uids[begin : begin + 1000]))
        writer.commit(str(tmp_path / "uids.npy"))
    # as the resharder's README does it
    expected = np.array([(int(u[:16], 16), int(u[16:32], 16)) for u in uids], "u8,u8")
    expected.sort()
    np.save(tmp_path / "expected.npy", expected)
    assert np.array_equal(np.load(tmp_path / "uids.npy"), expected)
    assert (tmp_path / "uids.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()


def test_without_any_uid_there_is_nothing_to_write(tmp_path: Path) -> None:
    annotations = write_annotations(tmp_path / "scores", {"a.tar": [row(0, 0.5, uid=None)]})
    settings = FilterConfig(
        annotations=str(annotations), output=str(tmp_path / "kept"), keep_count=1, emit=("uids",)
    )
    with pytest.raises(InputError, match="none of the 1 kept samples has a uid"):
        curate(settings)
    assert not (tmp_path / "kept").exists()
