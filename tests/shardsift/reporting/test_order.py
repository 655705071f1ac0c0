"""Rows have the order of `filter`, and a browser can unpack them."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path

import numpy as np

from shardsift.config.filter_settings import FilterConfig
from shardsift.errors import ErrorCode
from shardsift.filtering.query import curate
from shardsift.reporting.axes import make_axes, make_labels, order_of, pack
from shardsift.reporting.gather import gather
from tests.generated import row, write_annotations
from tests.outputs import kept_rows


def test_the_last_rows_are_those_that_a_filter_keeps(tmp_path: Path) -> None:
    """Ties and all: qualities repeat within shards and across."""
    shards = {
        f"{shard}.tar": [
            row(n, ErrorCode.TRUNCATED if n % 11 == 0 else (n % 5) / 10) for n in range(40)
        ]
        for shard in ("a", "b", "c")
    }
    run = gather(str(write_annotations(tmp_path / "scores", shards)))
    order = order_of(run)
    rows = run.table.select(["shard", "index"]).take(order).to_pylist()
    scored = sum(sample.quality is not None for samples in shards.values() for sample in samples)
    for share in (0.1, 0.33, 0.5, 0.9):
        kept = round(share * scored)
        best = {(line["shard"], line["index"]) for line in rows[scored - kept : scored]}
        output = tmp_path / f"kept-{share}"
        curate(FilterConfig(annotations=run.url, output=str(output), keep_top=share))
        assert best == kept_rows(output)


def test_qualities_are_packed_to_the_bit(tmp_path: Path) -> None:
    values = [0.1, 0.7, 0.3, 1.25, 1e-6, 0.3]
    samples = [*(row(n, value) for n, value in enumerate(values)), row(6, ErrorCode.TRUNCATED)]
    run = gather(str(write_annotations(tmp_path / "scores", {"a.tar": samples})))
    axes, labels = make_axes(run), make_labels(run)
    packed = pack(run, order_of(run), axes, labels)
    data = np.frombuffer(zlib.decompress(base64.b64decode(packed["data"])), np.uint8)
    assert (packed["rows"], packed["scored"]) == (7, 6)
    assert len(data) == 4 * 6 + 7 * (len(axes) + len(labels))
    steps = data[:24].reshape(4, 6).astype(np.uint32)
    ranks = np.cumsum((steps << np.array([[0], [8], [16], [24]], np.uint32)).sum(axis=0))
    bits = (ranks.astype(np.uint32) ^ np.uint32(1 << 31)).view(np.float32)
    assert bits.tolist() == np.sort(np.array(values, np.float32)).tolist()
