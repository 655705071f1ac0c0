"""The verb prints a table and writes a picture for each image."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from shardsift.cli.app import main
from tests.samples import encoded


@pytest.fixture(name="photo")
def a_photo(tmp_path: Path) -> Path:
    path = tmp_path / "clouds.jpg"
    path.write_bytes(encoded(width=400))
    return path


def test_a_table_and_a_heat_map(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    line = ["explain", str(photo), "--model", "compact", "--output", str(tmp_path / "out")]
    assert main([*line, "--every-crop"]) == 0
    printed = capsys.readouterr().out
    assert "400x260" in printed
    assert "128,0" in printed
    with Image.open(tmp_path / "out" / "clouds-heat.png") as picture:
        assert picture.width > 800


def test_a_narrow_terminal_cuts_off_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a-photograph-whose-name-is-a-long-one.jpg"
    path.write_bytes(encoded(width=400))
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["explain", str(path), "--model", "compact"]) == 0
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert all(cue in printed for cue in ("quality", "q_sim", "q_mag", "w_sim"))
    assert len(re.findall(r" 0\.\d{4} ", printed)) >= 4


@pytest.mark.parametrize(
    ("content", "reason"), [(b"no image", "unsupported_format"), (None, "No such file")]
)
def test_what_is_no_image_is_a_mistake(
    tmp_path: Path, content: bytes | None, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "photo.jpg"
    if content is not None:
        path.write_bytes(content)
    assert main(["explain", str(path), "--model", "compact"]) == 2
    assert reason in capsys.readouterr().err


def test_a_missing_file_is_told_before_a_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = str(tmp_path / "gone.jpg")
    assert main(["explain", gone, "--model", "no model either"]) == 2
    assert f"{gone}: can't be read: No such file" in capsys.readouterr().err
