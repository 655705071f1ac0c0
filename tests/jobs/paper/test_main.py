"""One command evaluates on all downloaded sets of the paper, as its authors do."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from jobs.paper.__main__ import evaluate_sets
from jobs.paper.config import PaperConfig
from shardsift.cli.console import PlainConsole
from shardsift.errors import InputError
from tests.jobs.paper.test_sets import put_sheet
from tests.samples import picture


def agiqa1k(folder: Path, images: int) -> None:
    names = [f"deepai_{number}_0_0_0.jpg" for number in range(images)]
    rows = [[name, "a bird", 1.0 + number % 4] for number, name in enumerate(names)]
    put_sheet(folder / "AIGC_MOS_Zscore.xlsx", [["Image", "Prompt", "MOS"], *rows])
    (folder / "file").mkdir()
    for number, name in enumerate(names):
        picture(256, 256, seed=number).save(folder / "file" / name)


def test_what_is_there_is_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agiqa1k(tmp_path / "downloads" / "agiqa1k", images=10)
    config = PaperConfig.model_validate(
        {
            "downloads": tmp_path / "downloads",
            "output": tmp_path / "out",
            **{"model": "compact", "resamples": 0, "brisque": False, "ablate": ("lambda",)},
        }
    )
    evaluate_sets(config, PlainConsole())
    table = (tmp_path / "out" / "table.md").read_text()
    assert "| agiqa1k | 10 | 1,080 |" in table
    assert "resized to 224x224 (bicubic)" in capsys.readouterr().out
    with (tmp_path / "out" / "agiqa1k" / "predictions.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 10


def test_a_folder_without_any_is_refused(tmp_path: Path) -> None:
    config = PaperConfig(downloads=tmp_path, output=tmp_path / "out")
    with pytest.raises(InputError, match="unpack each download"):
        evaluate_sets(config, PlainConsole())
