"""`compact` as people type it."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardsift.cli.app import main
from tests.generated import write_annotations


@pytest.fixture
def scores(tmp_path: Path) -> str:
    return str(write_annotations(tmp_path / "scores", {"a.tar": [0.1, 0.2], "b.tar": [0.3]}))


def test_it_says_what_became_of_what(
    scores: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "few")
    assert main(["compact", scores, "--output", output, "--bytes_per_file", "128MiB"]) == 0
    assert "compacted: 3 rows of 2 shards, in 1 file in" in capsys.readouterr().err
    assert main(["stats", output]) == 0
    assert main(["compact", scores, "--output", output]) == 2
    assert "--overwrite to replace them" in capsys.readouterr().err
    assert main(["compact", scores, "--output", output, "--overwrite"]) == 0


@pytest.mark.parametrize("size", ["lots", "0", "-1MB"])
def test_a_size_that_is_none_is_one_line(
    size: str, scores: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["compact", scores, "--output", str(tmp_path / "few"), f"--bytes-per-file={size}"]
    assert main(command) == 2
    assert f"--bytes-per-file {size}: " in capsys.readouterr().err
    assert not (tmp_path / "few").exists()
