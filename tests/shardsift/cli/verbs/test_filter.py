"""`filter` and `stats` as people type them: output and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shardsift.cli.app import main
from shardsift.errors import ErrorCode
from tests.generated import write_annotations


@pytest.fixture
def scores(tmp_path: Path) -> str:
    """Two shards, one of which was given up."""
    shards = {"a.tar": [0.1, 0.5, 0.5, 0.5, 0.9, ErrorCode.TRUNCATED], "b.tar": [0.2, 0.3]}
    return str(write_annotations(tmp_path / "scores", shards, failed=["c.tar"]))


def test_every_row_is_told_of(
    scores: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "kept")
    assert main(["filter", scores, "--output", output, "--keep_count", "2"]) == 0
    said = capsys.readouterr()
    lines = [line.strip("│ ").split("│") for line in said.out.splitlines() if "│" in line]
    numbers = {line[0].strip(): line[1].strip() for line in lines}
    assert numbers == {
        "rows": "8",
        "kept": "2",
        "below the threshold": "3",
        "at the threshold, dropped (ties)": "2",
        "excluded by where": "0",
        "dropped for its error: truncated": "1",
        "shards": "2",
        "failed when scored": "1",
        "without annotation": "0",
    }
    assert "threshold: --min-quality 0.5" in said.out
    assert said.err == f"next: shardsift reshard --keep {output} --output {output}-shards\n"


def test_a_dry_run_needs_no_output(scores: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["filter", scores, "--keep-top", "0.5", "--dry-run"]) == 0
    assert "threshold: --min-quality 0.5" in capsys.readouterr().out


def test_settings_come_from_a_file_and_flags_win(
    scores: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "filter.yaml").write_text("keep-count: 5\nper: prefix\n")
    command = ["filter", scores, "--output", str(tmp_path / "kept")]
    assert main([*command, "--config", str(tmp_path / "filter.yaml")]) == 2
    assert "--per needs --keep-top" in capsys.readouterr().err
    (tmp_path / "filter.yaml").write_text("keep-count: 5\n")
    assert main([*command, "--config", str(tmp_path / "filter.yaml"), "--keep-count", "1"]) == 0
    assert json.loads((tmp_path / "kept" / "_summary.json").read_text())["kept"] == 1


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ([], "give one of --keep-top, --keep-count, --min-quality and --min"),
        (
            ["--keep-top", "30"],
            "--keep-top 30: a share is between 0 and 1; did you mean 0.3, or 30%?",
        ),
        (["--keep-top", "0.5", "--where", "widht > 2"], "no column widht; did you mean width?"),
        (["--min-quality", "3"], "quality goes from 0.1 to 0.9"),
        (["--keep-top", "0.5", "--where", "width > 9999"], "keeps nothing"),
        (
            ["--keep-top", "0.5", "--emit", "keep_list"],
            "--emit keep_list: is not among keep-list, uids, paths; did you mean keep-list?",
        ),
        (["--keep-tip", "0.5"], "did you mean --keep-top?"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    flags: list[str], says: str, scores: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["filter", scores, "--output", str(tmp_path / "kept"), *flags]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "kept").exists()


def test_without_annotations_it_says_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["filter", "--keep-top", "0.5", "--dry-run"]) == 2
    assert (
        "ANNOTATIONS has to be given: the output of `score`: a folder or URL"
        in capsys.readouterr().err
    )


def test_a_damaged_file_is_one_line_too(
    scores: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(scores, "a.parquet").write_bytes(b"half a file")
    assert main(["filter", scores, "--keep-top", "0.5", "--dry-run"]) == 2
    assert "a.parquet: not an annotation file of Shardsift" in capsys.readouterr().err


def test_stats_are_tables_or_json(scores: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", scores]) == 0
    said = capsys.readouterr().out
    assert "truncated" in said
    assert "failed: c.tar" in said
    assert "0.500" in said
    assert main(["stats", scores, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"], told["scored"], told["quality_quantiles"]["0.5"]) == (8, 7, 0.5)
