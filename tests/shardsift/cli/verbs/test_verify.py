"""Messages and exit codes of `shardsift verify`."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from shardsift.cli.app import main
from tests.outputs import annotation_files, score_again
from tests.samples import write_shards


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return write_shards(tmp_path / "in", 3, samples=2)


@pytest.fixture
def out(tmp_path: Path, shards: Path) -> Path:
    score_again(shards, tmp_path / "out")
    return tmp_path / "out"


def numbers(said: str) -> dict[str, str]:
    """The rows of the table."""
    lines = [line.strip(" │\n").split("│") for line in said.splitlines() if "│" in line]
    return {name.strip(): number.strip() for name, number in lines}


def test_a_clean_bill(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(out), "--recount"]) == 0
    said = capsys.readouterr().out
    assert "complete and consistent" in said
    assert numbers(said) == {
        "shards planned": "3",
        "with a sound annotation": "3",
        "failed, see _failed": "0",
        "rows checked": "6",
        "shards read again": "3",
        "problems": "0",
    }


def test_each_problem_is_one_line_and_the_last_says_how_to_go_on(
    out: Path, shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (out / "00001.parquet").unlink()
    (out / "00002.parquet").write_bytes(b"[red]")
    assert main(["verify", str(out)]) == 1
    *_, first, second, last = capsys.readouterr().out.splitlines()
    assert first == (
        "00001.tar: has neither an annotation nor a record of its failure; "
        "run the same score command again"
    )
    assert second.startswith("00002.tar: its annotation is damaged: ")
    assert second.endswith("; --repair, then score again")
    command = shlex.join(["shardsift", "score", str(shards), "--output", str(out)])
    assert last == f"to resume, with the settings of that run: {command}"


def test_repairing_and_scoring_again_gives_the_same_bytes(
    out: Path, shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = annotation_files(out)
    (out / "00001.parquet").unlink()
    (out / "00002.parquet").write_bytes(b"")
    assert main(["verify", str(out), "--repair"]) == 1
    said = capsys.readouterr().out
    assert "repaired: 2 files deleted, 2 to make again" in said
    assert score_again(shards, out) == ["00001.tar", "00002.tar"]
    assert main(["verify", str(out)]) == 0
    assert annotation_files(out) == whole


def test_shards_that_were_given_up_are_counted(
    out: Path, shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shards / "00003.tar").write_bytes(b"no tar")
    score_again(shards, out)
    assert main(["verify", str(out)]) == 0
    said = capsys.readouterr().out
    assert "complete and consistent except 1 shard that failed when scored" in said


def test_named_shards(out: Path, shards: Path) -> None:
    each = [word for shard in sorted(shards.iterdir()) for word in ("--shards", str(shard))]
    assert main(["verify", str(out), *each]) == 0
    assert main(["verify", str(out), *each[:2]]) == 1


def test_a_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"shardsift: {tmp_path}: no _run.json here; name the --output of a run"
