"""`doctor` checks the needs of a run, and lists problems with remedies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shardsift.cli.app import main
from tests.samples import write_shards

pytestmark = pytest.mark.usefixtures("local_ray")


def findings(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, dict[str, Any]]:
    main(["doctor", *words, "--seconds", "0.05", "--json"])
    return {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)}


def test_everything_is_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards = str(write_shards(tmp_path / "in", 3, samples=4))
    found = findings(capsys, shards, str(tmp_path / "out"), "--model", "compact")
    told = {what: finding["told"] for what, finding in found.items()}
    assert told["Python"].startswith("3.")
    assert "torch 2." in told["packages"]
    assert "1 node, 4 cores, 2 GPUs" in told["Ray"], "those that Ray sees, faked as they are"
    assert told["weights"].startswith("compact loads in ")
    assert told[shards] == "3 shards to read"
    assert told[str(tmp_path / "out")] == "can be written; no shards here"
    for stage, unit in (("reading", "B/s"), ("decoding", "/s and core"), ("writing", "B/s")):
        assert unit in told[stage]
    assert "pictures/s on cpu" in told["scoring"]
    amiss = {what for what, finding in found.items() if finding["advice"]}
    assert amiss <= {"GPUs", "space, temporary files", f"space, {shards}", f"space, {tmp_path}/out"}
    assert not list((tmp_path).glob("out/*"))


def test_what_is_amiss_comes_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    locked = tmp_path / "a file"
    locked.write_bytes(b"")
    found = findings(capsys, f"{locked}/in/*.tar", f"{locked}/out", "--model", "RN101")
    weights = found["weights"]
    assert weights["told"] == "RN101: not here"
    assert weights["advice"] == (
        "127.0.0.1 can't be reached; copy weights here and pass --pretrained PATH"
    )
    assert "scoring" not in found
    assert "can't be written" in found[f"{locked}/out"]["advice"]


def test_lines_for_people_and_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--model", "compact", "--seconds", "0.05"])
    said = capsys.readouterr().out
    assert "✓ Python: 3." in said
    assert code == int("! " in said)
