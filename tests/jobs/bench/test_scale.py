"""Costs of a corpus: shares of a store and of cores, losses, and the word `simulated`."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from jobs.bench.outlook import ScaleConfig, requests_for, simulate
from jobs.bench.scale import measure

CONFIG = ScaleConfig(pictures=20_000_000, node_hours=1e9)
AMPLE = 1e6
"""GB/s of a store that is never the bottleneck."""


def test_twice_the_gpus_take_half_the_time_while_nothing_is_shared() -> None:
    eight, sixteen = (simulate(CONFIG, gpus, AMPLE) for gpus in (8, 16))
    assert eight.held_up_by == "GPU"
    assert 0.95 < eight.efficiency <= 1
    assert sixteen.hours == pytest.approx(eight.hours / 2, rel=0.1)
    assert sixteen.gpu_hours == pytest.approx(eight.gpu_hours, rel=0.1)


@pytest.mark.parametrize(
    ("settings", "stage", "most"),
    [
        ({"decode_us": 8_000}, "decoding", 14 / 0.008 * 8),
        ({"process_us": 1_000}, "process", 1_000 * 8),
        ({"cpu_us": 16_000}, "cores", 128 / 0.016),
        ({"node_gb_s": 0.44}, "node's network", 0.44e9 / 44_000),
    ],
)
def test_the_slowest_stage_sets_the_pace(
    settings: dict[str, float], stage: str, most: float
) -> None:
    outlook = simulate(CONFIG.model_copy(update=settings), 8, AMPLE)
    assert outlook.held_up_by == stage
    assert 0.9 * most < outlook.pictures_per_second <= most


def test_a_store_gives_all_together_no_more_than_it_can() -> None:
    outlooks = [simulate(CONFIG, gpus, 4.4) for gpus in (64, 128)]
    assert {outlook.held_up_by for outlook in outlooks} == {"store"}
    assert all(0.8e5 < outlook.pictures_per_second <= 1e5 for outlook in outlooks)


def test_lost_nodes_cost_time_and_no_shard() -> None:
    often = CONFIG.model_copy(update={"node_hours": 0.02})
    outlook = simulate(often, 64, AMPLE)
    assert outlook.lost_nodes > 2
    assert outlook.failed_shards == 0
    assert outlook.efficiency < simulate(CONFIG, 64, AMPLE).efficiency


def test_requests_are_blocks_and_eight_for_each_shard() -> None:
    assert requests_for(CONFIG) == 2_000 * (53 + 8)


def test_a_table_a_file_and_a_picture_say_that_it_is_simulated(tmp_path: Path) -> None:
    shown = io.StringIO()
    config = CONFIG.model_copy(update={"gpus": (8, 16), "store_gb_s": (4.4,), "output": tmp_path})
    measure(config, Console(file=shown, width=120))
    assert "SIMULATED: 20,000,000 pictures" in shown.getvalue()
    found = json.loads((tmp_path / "scale.json").read_text())
    assert found["simulated"] is True
    assert [outlook["gpus"] for outlook in found["outlooks"]] == [8, 16]
    assert (tmp_path / "scale.png").stat().st_size > 10_000
