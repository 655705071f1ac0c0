"""`ask` as people type it, on Ray."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from shardsift.cli.app import main
from tests.outputs import annotation_files
from tests.shardsift.annotations.asked import BLURRY, TEXT, ask_here, rows_of, score_pictures

pytestmark = pytest.mark.usefixtures("local_ray")


def ask(scores: Path, out: Path, *flags: str) -> int:
    return main(["ask", str(scores), "--output", str(out), "--actors", "1", *flags])


def test_embeddings_answer_what_the_pictures_would(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores, out = score_pictures(tmp_path), tmp_path / "answers"
    assert ask(scores, out, "--attribute", BLURRY, "--attribute", TEXT) == 0
    assert "asked 3 shards: " in capsys.readouterr().err
    for row, scored in zip(rows_of(out), rows_of(scores), strict=True):
        assert [*row] == ["shard", "index", "attr_blurry", "attr_text"]
        assert (row["shard"], row["index"]) == (scored["shard"], scored["index"])
        if scored["error"]:
            assert (row["attr_blurry"], row["attr_text"]) == (None, None)
        else:
            assert row["attr_blurry"] == pytest.approx(scored["attr_blurry"], abs=2e-3)
            assert 0 <= row["attr_text"] <= 1
    summary = json.loads((out / "_summary.json").read_text())
    told = [summary[name] for name in ("shards", "rows", "scored", "actors")]
    assert told == [3, 12, 0, 1]
    mean = np.mean([row["attr_text"] for row in rows_of(out) if row["attr_text"] is not None])
    assert summary["means"]["attr_text"] == pytest.approx(mean)
    assert main(["verify", str(out)]) == 0
    assert ask(scores, out, "--attribute", BLURRY, "--attribute", TEXT) == 0
    assert "nothing to do: 3 shards answered already" in capsys.readouterr().err
    ask_here(scores, tmp_path / "here", BLURRY, TEXT)
    assert annotation_files(tmp_path / "here") == annotation_files(out)
