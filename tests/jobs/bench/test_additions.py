"""The cost of additions can be measured anywhere."""

from __future__ import annotations

import io
import json
from pathlib import Path

from rich.console import Console

from jobs.bench.additions import AdditionsConfig, measure


def test_every_addition_is_measured_beside_the_score(tmp_path: Path) -> None:
    config = AdditionsConfig(
        model="compact",
        output=tmp_path,
        images=2,
        size="60x50",
        laps=1,
        dtype="float32",
        batch_size=2,
    )
    shown = io.StringIO()
    measure(config, Console(file=shown, width=100))
    found = json.loads((tmp_path / "additions.json").read_text())
    costs = {cost["addition"]: cost for cost in found["additions"]}
    assert list(costs) == [
        *("score alone", "10 attributes", "embeddings", "CLIP compact, and its embeddings"),
        *("sha256", "phash", "both hashes"),
    ]
    assert costs["score alone"]["of_score"] == 1
    assert all(cost["images_per_second"] > 0 for cost in costs.values())
    assert found["decoding_us"].keys() == {"decode", "sha256", "phash"}
    assert "10 attributes" in shown.getvalue()
