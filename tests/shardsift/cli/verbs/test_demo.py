"""The demo runs offline, and its table shows the meaning of scores."""

from __future__ import annotations

import io
import json
import re
import tarfile
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from shardsift.cli.console import PlainConsole
from shardsift.cli.verbs import demo as module
from shardsift.cli.verbs.demo import DISTORTIONS, LEVELS, run
from shardsift.config.verb_settings import DemoConfig


@pytest.fixture(scope="module")
def demo(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of an interrupted demo; its output is in `said.txt`."""
    folder = tmp_path_factory.mktemp("demo")
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PHOTOGRAPHS", ("astronaut", "rocket"))
        assert run(DemoConfig(output=folder), PlainConsole(file=said, width=120)) == 0
    (folder / "said.txt").write_text(said.getvalue())
    return folder


def test_every_sample_has_a_row_and_the_bad_ones_an_error(demo: Path) -> None:
    rows = pq.read_table(demo / "annotations").to_pylist()
    assert len(rows) == json.loads((demo / "annotations" / "_summary.json").read_text())["rows"]
    assert len(rows) == 2 * 3 * 21 + 2
    errors = {row["key"]: row["error"] for row in rows if row["error"]}
    assert errors == {"a-corrupt-image": "decode_error", "no-image-at-all": "missing_image"}


def lines_about(distortion: str, demo: Path) -> list[str]:
    """Parse the demo's line of a distortion: mean qualities, and the number kept."""
    lines = (demo / "said.txt").read_text().splitlines()
    return [line for line in lines if f" {distortion} " in line]


@pytest.mark.parametrize("distortion", DISTORTIONS)
def test_quality_falls_with_every_level(distortion: str, demo: Path) -> None:
    line, _ = lines_about(distortion, demo)
    means = [float(word) for word in line.split() if word.startswith("0.")]
    assert len(means) == LEVELS + 1
    assert all(better > worse for better, worse in pairwise(means)), line


@pytest.mark.parametrize("distortion", DISTORTIONS)
def test_the_filter_keeps_the_better_half(distortion: str, demo: Path) -> None:
    _, line = lines_about(distortion, demo)
    kept = [int(number) for number in re.findall(r"(\d+) of 6", line)]
    assert len(kept) == LEVELS + 1
    assert kept[0] >= 5
    assert kept[0] > kept[-1], line
    summary = json.loads((demo / "kept" / "_summary.json").read_text())
    assert summary["kept"] == round(0.5 * (summary["rows"] - 2))


def test_it_says_where_the_files_are(demo: Path) -> None:
    said = (demo / "said.txt").read_text()
    assert f"{demo}/annotations" in said.replace("\n", "")
    assert "images/s" in said


def test_shards_say_nothing_of_when_they_were_made(demo: Path) -> None:
    """Or equal demos would differ."""
    for path in (demo / "shards").iterdir():
        with tarfile.open(path) as tar:
            assert {member.mtime for member in tar} == {0}
