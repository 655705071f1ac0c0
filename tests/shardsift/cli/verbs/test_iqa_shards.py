"""A download becomes shards that `evaluate` takes."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from shardsift.cli.app import main
from shardsift.shards.samples import read_samples
from tests.samples import encoded


@pytest.fixture(name="download")
def a_tid2013_of_ten(tmp_path: Path) -> Path:
    folder = tmp_path / "tid2013"
    (folder / "distorted_images").mkdir(parents=True)
    names = [f"I01_01_{n}.bmp" for n in range(10)]
    for n, name in enumerate(names):
        data = encoded("BMP", 64, 48, seed=n)
        (folder / "distorted_images" / name).write_bytes(data)
    lines = [f"{n / 2} {name}\n" for n, name in enumerate(names)]
    (folder / "mos_with_names.txt").write_text("".join(lines))
    return folder


def test_shards_for_evaluate(
    download: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "shards"
    line = ["iqa-shards", "tid2013", str(download), "--output", str(output)]
    assert main([*line, "--images-per-shard", "4"]) == 0
    assert "10 images with opinions in 3 shards" in capsys.readouterr().err
    shards = sorted(output.iterdir())
    assert [shard.name for shard in shards] == [f"tid2013-0000{n}.tar" for n in range(3)]
    assert sum(len(list(read_samples(str(shard)))) for shard in shards) == 10
    with tarfile.open(shards[1]) as tar:
        content = tar.extractfile("000004.json")
        assert content is not None
        assert json.load(content)["mos"] == 2.0
    first = shards[0].read_bytes()
    assert main([*line, "--images-per-shard", "4"]) == 0
    assert shards[0].read_bytes() == first


def test_an_unknown_set_names_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["iqa-shards", "koniq", str(tmp_path), "--output", str(tmp_path / "x")]) == 2
    assert "did you mean koniq10k" in capsys.readouterr().err
