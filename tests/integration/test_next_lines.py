"""Each command that Shardsift says is next does what it promises, as it stands."""

from __future__ import annotations

import csv
import shlex
from pathlib import Path

import pytest

from shardsift.cli.app import main
from tests.samples import encoded, write_shards

pytestmark = pytest.mark.usefixtures("local_ray")

ON_CPUS = ["--config", "laptop", "--cpus-per-actor", "1", "--actors", "1", "--crops", "global"]


def follow(
    words: list[str], capsys: pytest.CaptureFixture[str], until: str | None = None
) -> list[str]:
    """Run a command, and each one that is said to be next, `until` one; their verbs."""
    verbs: list[str] = []
    while words[0] != until:
        capsys.readouterr()
        assert main(words) == 0, words
        verbs.append(words[0])
        said = capsys.readouterr().err.splitlines()
        lines = [line.removeprefix("next: ") for line in said if line.startswith("next: ")]
        if not lines:
            return verbs
        (line,) = lines
        program, *words = shlex.split(line)
        assert program == "shardsift"
    return verbs


def test_from_scores_to_clean_shards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards, scores = write_shards(tmp_path / "in", 2, samples=4), tmp_path / "scores"
    score = ["score", str(shards), "--output", str(scores), "--embeddings", *ON_CPUS]
    assert follow(score, capsys) == ["score", "report", "filter", "reshard", "verify"]
    ask = ["ask", str(scores), "--output", str(tmp_path / "answers")]
    ask += ["--attribute", "watermark=a photo with a watermark|a photo without one"]
    assert follow([*ask, "--actors", "1"], capsys, until="reshard") == ["ask", "filter"]
    compact = ["compact", str(scores), "--output", str(tmp_path / "few")]
    assert follow(compact, capsys) == ["compact", "verify"]
    assert follow(["config"], capsys) == ["config", "config"]


def test_from_opinions_to_an_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"MODEL": "compact", "CROPS": "global", "BRISQUE": "false"}.items():
        monkeypatch.setenv(f"SHARDSIFT_{name}", value)
    folder = tmp_path / "koniq"
    (folder / "1024x768").mkdir(parents=True)
    with (folder / "koniq10k_scores_and_distributions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_name", "MOS"])
        for number in range(12):
            name = f"{number}.jpg"
            writer.writerow([name, 50 + number])
            (folder / "1024x768" / name).write_bytes(encoded(seed=number))
    words = ["iqa-shards", "koniq10k", str(folder), "--output", str(tmp_path / "shards")]
    assert follow(words, capsys) == ["iqa-shards", "evaluate"]
