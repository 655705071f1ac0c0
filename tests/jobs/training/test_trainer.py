"""Training on a few pictures: resuming, exporting, refusals."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from jobs.training.model import (
    CONFIG_FILE,
    MODEL_CONFIG,
    WEIGHTS_FILE,
    build_model,
    export,
    pooled_features,
    projected_features,
)
from jobs.training.photos import Photos, load_photos
from jobs.training.trainer import MODEL, Progress, TrainConfig, Trainer
from shardsift.config import ScoreConfig
from shardsift.errors import ConfigError
from shardsift.scoring.encoder import Encoder
from shardsift.scoring.scorer import Scorer
from tests.samples import encoded, picture, tar_bytes

CONFIG = TrainConfig(
    steps=4,
    groups=2,
    check_every=2,
    side=32,
    exam_photos=1,
    enough=1.0,
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads that wait for each other make tiny steps slow on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def photos() -> Photos:
    files = [encoded(width=180, height=180, seed=seed) for seed in range(4)]
    return Photos(train=files[:2], held_out=files[2:])


@dataclass(frozen=True)
class Broken:
    """Files of a run, and its progress."""

    folder: Path
    progress: list[Progress]


def train(config: TrainConfig, photos: Photos, output: Path, steps: int) -> list[Progress]:
    output.mkdir(exist_ok=True)
    return list(itertools.islice(Trainer(config, photos, output).run(workers=0), steps))


@pytest.fixture(scope="module")
def broken(photos: Photos, tmp_path_factory: pytest.TempPathFactory) -> Broken:
    """A run that died in its third step, after the checkpoint of the second."""
    folder = tmp_path_factory.mktemp("broken")
    return Broken(folder, train(CONFIG, photos, folder, 3))


@pytest.mark.skipif("SHARDSIFT_TEST_CHAOS" not in os.environ, reason="make chaos runs it: 16 s")
def test_a_resumed_run_equals_an_unbroken_one(
    photos: Photos, broken: Broken, tmp_path: Path
) -> None:
    unbroken = train(CONFIG, photos, tmp_path / "unbroken", 4)
    shutil.copytree(broken.folder, tmp_path / "broken")
    resumed = train(CONFIG, photos, tmp_path / "broken", 4)
    assert [progress.step for progress in resumed] == [3, 4]
    assert broken.progress[:2] + resumed == unbroken
    weights = [tmp_path / run / MODEL / WEIGHTS_FILE for run in ("unbroken", "broken")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.skipif("SHARDSIFT_TEST_CHAOS" not in os.environ, reason="make chaos runs it: 6 s")
def test_training_ends_once_enough_is_in_order(photos: Photos, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"enough": 1e-9, "steps": 100})
    ended = train(config, photos, tmp_path, 100)
    last = ended[-1]
    assert last.validation is not None
    assert last.validation.quality.series > 0
    assert last.step < 100
    assert not train(config, photos, tmp_path, 100), "what has ended must not go on"


@pytest.mark.skipif("SHARDSIFT_TEST_CHAOS" not in os.environ, reason="make chaos runs it: 8 s")
def test_other_settings_than_the_checkpoints_are_refused(photos: Photos, broken: Broken) -> None:
    with pytest.raises(ConfigError, match=r"other settings \(seed\)"):
        Trainer(CONFIG.model_copy(update={"seed": 1}), photos, broken.folder)


@pytest.mark.skipif("SHARDSIFT_TEST_CHAOS" not in os.environ, reason="make chaos runs it: 8 s")
def test_early_blocks_and_batch_statistics_stay_those_of_imagenet(broken: Broken) -> None:
    before = build_model(CONFIG.frozen_blocks).state_dict()
    state = torch.load(broken.folder / "checkpoint.pt", weights_only=True)
    changed = [name for name, value in state["model"].items() if not value.equal(before[name])]
    trunk = [name for name in changed if name.startswith("visual.trunk.")]
    assert any("blocks.3." in name for name in trunk)
    assert not [name for name in trunk if "running" in name or "conv_stem" in name]
    assert not [name for name in trunk if name.startswith("visual.trunk.blocks.2.")]


def test_the_scorer_loads_what_was_exported(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_model(CONFIG.frozen_blocks)
    export(model.state_dict(), tmp_path)
    files = tmp_path / CONFIG_FILE, tmp_path / WEIGHTS_FILE
    assert json.loads(files[0].read_text())["model_cfg"] == MODEL_CONFIG
    assert sum(file.stat().st_size for file in files) < 20 << 20
    floats = {value.dtype for value in load_file(files[1]).values() if value.is_floating_point()}
    assert floats == {torch.float16}
    prompts = (("a walrus at dusk", "static, hiss & 12 broken wires"),)
    config = ScoreConfig(model=str(files[0]), pretrained=str(files[1]), prompts=prompts)
    [score] = Scorer(config).score([np.asarray(picture())])
    assert np.isfinite(score.quality).all()


def test_features_in_training_are_those_of_the_encoder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_model(CONFIG.frozen_blocks)
    rounded = {
        name: value.half().float() if value.is_floating_point() else value
        for name, value in model.state_dict().items()
    }
    model.load_state_dict(rounded)
    export(model.state_dict(), tmp_path)
    config = ScoreConfig(model=str(tmp_path / CONFIG_FILE), pretrained=str(tmp_path / WEIGHTS_FILE))
    crops = torch.randint(0, 256, (2, 3, 224, 224), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mine = projected_features(model, pooled_features(model, crops.to(torch.uint8)))
    theirs = Encoder(config, "cpu").encode(crops.float())
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_every_kth_photograph_is_held_out(tmp_path: Path) -> None:
    files = [(f"{number}.jpg", encoded(seed=number)) for number in range(6)]
    shard = tmp_path / "photos.tar"
    shard.write_bytes(tar_bytes(files))
    photos = load_photos(str(shard), held_out=2)
    assert photos.held_out == [files[2][1], files[5][1]]
    assert files[2][1] not in photos.train
    assert len(photos.train) == 4
    with pytest.raises(ConfigError, match="needs twice that number"):
        load_photos(str(shard), held_out=4)
