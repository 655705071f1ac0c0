"""Real loading code on local files; and one clear line where weights can't be had."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from shardsift.config import ScoreConfig
from shardsift.errors import ModelError
from shardsift.scoring.encoder import Encoder
from tests.ports import free_ports
from tests.samples import encoded, write_tar

TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 224, "layers": [1, 1, 1, 1], "width": 8, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
TINY_EFFICIENT_NET = TINY | {
    "vision_cfg": {
        "image_size": 224,
        "timm_model_name": "tf_efficientnet_lite0",
        "timm_pool": "avg",
        "timm_proj": "linear",
    }
}
TINY_VIT = TINY | {
    "vision_cfg": {"image_size": 64, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
}


def config_for(folder: Path, model: object = TINY, **settings: object) -> ScoreConfig:
    path = folder / "tiny.json"
    path.write_text(json.dumps(model))
    return ScoreConfig.model_validate({"model": str(path), "pretrained": "random"} | settings)


def crops(count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, 224, 224), generator=generator).float()


def saved_weights(folder: Path, config: ScoreConfig) -> Path:
    torch.manual_seed(3)
    open_clip.add_model_config(Path(config.model))
    path = folder / "weights.pt"
    torch.save(open_clip.create_model("tiny").state_dict(), path)
    return path


def test_weights_are_loaded_from_a_file(tmp_path: Path) -> None:
    config = config_for(tmp_path)
    weights = saved_weights(tmp_path, config)
    loaded = Encoder(config_for(tmp_path, pretrained=str(weights)), "cpu")
    assert loaded.digest != Encoder(config, "cpu").digest
    assert loaded.encode(crops()).shape == (2, 32)


def test_the_digest_is_of_the_weights_and_not_of_their_path(tmp_path: Path) -> None:
    config = config_for(tmp_path)
    weights = saved_weights(tmp_path, config)
    moved = tmp_path / "elsewhere.pt"
    moved.write_bytes(weights.read_bytes())
    digests = {
        Encoder(config_for(tmp_path, pretrained=str(path)), "cpu").digest
        for path in (weights, moved)
    }
    assert len(digests) == 1


def test_a_resnet_scores_without_position_embedding(tmp_path: Path) -> None:
    weights = saved_weights(tmp_path, config_for(tmp_path))
    with_it, without = (
        Encoder(config_for(tmp_path, pretrained=str(weights), position_embedding=keep), "cpu")
        for keep in (True, False)
    )
    assert not torch.allclose(with_it.encode(crops()), without.encode(crops()))


@pytest.mark.parametrize("model", [TINY, TINY_EFFICIENT_NET], ids=["resnet", "efficientnet"])
def test_features_are_those_of_open_clip(model: dict[str, Any], tmp_path: Path) -> None:
    config = config_for(tmp_path, model, position_embedding=True)
    weights = saved_weights(tmp_path, config)
    theirs: Any = open_clip.create_model("tiny", pretrained=str(weights)).eval()
    mean, std = (
        torch.tensor(values).view(3, 1, 1)
        for values in (theirs.visual.image_mean, theirs.visual.image_std)
    )
    with torch.inference_mode():
        expected = theirs.encode_image((crops() / 255 - mean) / std)
    settings = {"pretrained": str(weights), "position_embedding": True}
    ours = Encoder(config_for(tmp_path, model, **settings), "cpu")
    torch.testing.assert_close(ours.encode(crops()), expected, atol=1e-5, rtol=1e-4)


def test_a_model_config_may_bring_its_own_mean_and_std(tmp_path: Path) -> None:
    """The form of `open_clip_config.json`, as models on the hub have it."""
    plain = Encoder(config_for(tmp_path), "cpu")
    wrapped = {"model_cfg": TINY, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    own = Encoder(config_for(tmp_path, wrapped), "cpu")
    mean, std = (
        torch.tensor(values).view(3, 1, 1)
        for values in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    )
    seen_alike = 255 * ((crops() / 255 - mean) / std * 0.5 + 0.5)
    torch.testing.assert_close(own.encode(seen_alike), plain.encode(crops()))
    assert own.digest != plain.digest


def test_a_vit_takes_our_crops_whatever_size_it_was_made_for(tmp_path: Path) -> None:
    encoder = Encoder(config_for(tmp_path, TINY_VIT), "cpu")
    assert encoder.encode(crops()).shape == (2, 32)


def test_random_weights_are_seeded(tmp_path: Path) -> None:
    first, second = (Encoder(config_for(tmp_path), "cpu") for _ in range(2))
    assert first.digest == second.digest


def test_text_features_are_unit_vectors_of_the_prompts(tmp_path: Path) -> None:
    pairs = (("a good one", "a bad one"), ("sharp", "blurry"))
    text_P2D = Encoder(config_for(tmp_path, prompts=pairs), "cpu").text_P2D
    assert text_P2D.shape == (2, 2, 32)
    torch.testing.assert_close(text_P2D.norm(dim=-1), torch.ones(2, 2))


def test_the_papers_model_is_built_with_quickgelu() -> None:
    """OpenAI's RN50 weights need QuickGELU, which open_clip's plain RN50 config lacks."""
    plain, quick = (
        Encoder(ScoreConfig(model=name, pretrained="random"), "cpu")
        for name in ("RN50", "RN50-quickgelu")
    )
    assert plain.digest == quick.digest


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "RN5O"}, "open_clip has no such model"),
        ({"model": "/gone/model.json", "pretrained": "x"}, "No such file"),
        ({"pretrained": "openay"}, "has no such tag; its tags: openai"),
        ({"pretrained": "/gone/weights.pt"}, "no such file"),
        ({"model": "compact", "pretrained": "openai"}, "has its own weights"),
    ],
)
def test_a_mistake_gets_one_line(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ModelError) as caught:
        Encoder(ScoreConfig.model_validate(settings), "cpu")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_failed_download_says_how_to_use_a_local_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # fails at once
    with pytest.raises(ModelError, match="not in the cache, and HF_HUB_OFFLINE is set") as caught:
        Encoder(ScoreConfig(model="RN101", pretrained="openai"), "cpu")
    assert "pass --model RN101 --pretrained /path/to/weights.pt" in str(caught.value)


def test_a_hub_that_does_not_answer_is_not_asked_again_and_again(tmp_path: Path) -> None:
    """The message took 46 s and 24 lines."""
    nobody = {"HF_ENDPOINT": f"http://127.0.0.1:{free_ports(1)[0]}", "HF_HOME": str(tmp_path)}
    write_tar(tmp_path / "in" / "0.tar", [("1.jpg", encoded())])
    command = [sys.executable, "-m", "shardsift", "score", str(tmp_path / "in"), "-o"]
    done = subprocess.run(
        [*command, f"{tmp_path}/out", "--model", "hf-hub:timm/gone", "--gpus-per-actor", "0"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | nobody,
    )
    assert "are not in the cache, and 127.0.0.1 can't be reached; " in done.stderr
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_a_file_that_is_no_weights_is_named(tmp_path: Path) -> None:
    junk = tmp_path / "junk.pt"
    junk.write_bytes(b"not weights at all")
    with pytest.raises(ModelError, match=r"junk\.pt: not weights of"):
        Encoder(config_for(tmp_path, pretrained=str(junk)), "cpu")


HOSTILE: list[object] = [
    7,
    [],
    {"embed_dim": 3},
    {"model_cfg": [1]},
    {"model_cfg": TINY, "preprocess_cfg": []},
    {"model_cfg": TINY, "preprocess_cfg": {"std": [0, 0, 0]}},
    {"model_cfg": TINY, "preprocess_cfg": {"mean": "grey"}},
    TINY | {"embed_dim": -1},
    TINY | {"embed_dim": 1 << 60},
    TINY | {"vision_cfg": []},
    TINY | {"vision_cfg": {"layers": "many"}},
    TINY | {"vision_cfg": {"timm_model_name": "../../etc/passwd"}},
    TINY | {"text_cfg": {"context_length": -3}},
    TINY | {"text_cfg": {"width": 16, "heads": 3, "layers": 1}},
    TINY | {"text_cfg": {"vocab_size": 3, "width": 16, "heads": 2, "layers": 1}},
    TINY | {"text_cfg": {"hf_tokenizer_name": ["a"]}},
]


@pytest.mark.parametrize("content", ["{", "[" * 9999, *map(json.dumps, HOSTILE)])
def test_a_config_that_is_none_is_one_line(content: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.json"
    path.write_text(content)
    with pytest.raises(ModelError) as error:
        Encoder(ScoreConfig(model=str(path), pretrained="random"), "cpu")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600
