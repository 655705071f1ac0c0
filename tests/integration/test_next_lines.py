"""Every suggested next command works unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.next_lines import follow
from tests.samples import write_shards

pytestmark = pytest.mark.usefixtures("local_ray")

ON_CPUS = ["--config", "laptop", "--cpus-per-actor", "1", "--actors", "1", "--crops", "global"]


def test_from_scores_to_clean_shards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards, scores = write_shards(tmp_path / "in", 2, samples=4), tmp_path / "scores"
    score = ["score", str(shards), "--output", str(scores), "--embeddings", "maclip", *ON_CPUS]
    assert follow(score, capsys) == ["score", "report", "filter", "reshard", "verify"]
    ask = ["ask", str(scores), "--output", str(tmp_path / "answers")]
    ask += ["--attribute", "watermark=a photo with a watermark|a photo without one"]
    assert follow([*ask, "--actors", "1"], capsys, until="reshard") == ["ask", "filter"]
    compact = ["compact", str(scores), "--output", str(tmp_path / "few")]
    assert follow(compact, capsys) == ["compact", "verify"]
    assert follow(["config"], capsys) == ["config", "config"]
