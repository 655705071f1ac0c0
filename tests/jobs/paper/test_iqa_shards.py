"""A download becomes shards that `evaluate` takes."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from jobs.paper.config import IqaShardsConfig
from jobs.paper.iqa_shards import run
from shardsift.cli.console import PlainConsole
from shardsift.errors import ConfigError
from shardsift.shards.tar_samples import read_tar
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


def config(folder: Path, output: Path, name: str = "tid2013") -> IqaShardsConfig:
    return IqaShardsConfig(name=name, folder=folder, output=str(output), images_per_shard=4)


def test_shards_for_evaluate(download: Path, tmp_path: Path) -> None:
    output, said = tmp_path / "shards", io.StringIO()
    run(config(download, output), PlainConsole(file=said, width=500))
    assert "10 images with opinions in 3 shards" in said.getvalue()
    assert f"next: shardsift evaluate {output}" in said.getvalue()
    shards = sorted(output.iterdir())
    assert [shard.name for shard in shards] == [f"tid2013-0000{n}.tar" for n in range(3)]
    assert sum(len(list(read_tar(str(shard)))) for shard in shards) == 10
    with tarfile.open(shards[1]) as tar:
        content = tar.extractfile("000004.json")
        assert content is not None
        assert json.load(content)["mos"] == 2.0
    first = shards[0].read_bytes()
    run(config(download, output), PlainConsole(file=said))
    assert shards[0].read_bytes() == first


def test_an_unknown_set_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean koniq10k"):
        run(config(tmp_path, tmp_path / "x", "koniq"), PlainConsole())
