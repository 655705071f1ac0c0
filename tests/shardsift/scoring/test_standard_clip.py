"""A standard CLIP: vectors and similarities are those of a plain loop over open_clip."""

from __future__ import annotations

import json
import pickle
import tarfile
from importlib.util import find_spec
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch.nn import functional

from shardsift.config import ScoreConfig
from shardsift.errors import ModelError
from shardsift.images.views import View
from shardsift.measures import Picture
from shardsift.records import RgbImage
from shardsift.scoring.standard_clip import StandardClip
from shardsift.scoring.weights import with_default_weights
from tests.conftest import SHARED

VISION = {"image_size": 48, "layers": 2, "width": 64, "patch_size": 16, "head_width": 16}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
VIT = {"model_cfg": {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT}}
RESNET = {
    "model_cfg": {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16},
        "text_cfg": TEXT,
    }
}
SIGLIP = {
    "model_cfg": {
        "embed_dim": 24,
        "init_logit_bias": -2,
        "init_logit_scale": 1.5,
        "custom_text": True,
        "vision_cfg": VISION,
        "text_cfg": TEXT | {"no_causal_mask": True, "pool_type": "last", "proj_bias": True},
    },
    "preprocess_cfg": {
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bilinear",
        "resize_mode": "squash",
    },
}
CAPTIONS = [
    "a photograph of a dog",
    None,
    "word " * 500,
    "一只猫 – кошка – \U0001f408 &amp; <b>ñ</b>",
    "!",
    "x" * 60_000,
    "a photograph of a dog",
]


def pictures(count: int = 7) -> list[RgbImage]:
    random = np.random.default_rng(0)
    found: list[RgbImage] = []
    for number in range(count):
        small = Image.fromarray(random.integers(0, 256, (6, 5, 3), np.uint8))
        found.append(np.asarray(small.resize((40 + 37 * number, 150 - 13 * number))))
    return found


def config_file(folder: Path, config: Any) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return str(path)


def asked(clip: StandardClip, images: list[RgbImage], captions: list[str | None]) -> Any:
    views = [clip.preparer.prepare(Picture(b"", image)) for image in images]
    return clip.measure(list(zip(views, captions, strict=True)))


def name_of(clip: StandardClip) -> str:
    assert clip.model.text, "a standard CLIP has one"
    return clip.model.text.name


def plain_loop(name: str, model: Any, images: list[RgbImage], captions: list[str | None]) -> Any:
    """Vectors and similarities by open_clip alone, picture by picture."""
    transform: Any = image_transform_v2(
        PreprocessCfg(**open_clip.get_model_preprocess_cfg(model)), False
    )
    tokenizer = open_clip.get_tokenizer(name)
    vectors, scores = [], []
    with torch.inference_mode():
        for image, caption in zip(images, captions, strict=True):
            vectors.append(model.encode_image(transform(Image.fromarray(image))[None])[0].numpy())
            if caption is None:
                scores.append(None)
                continue
            text_D = model.encode_text(tokenizer([caption]), normalize=True)[0]
            cosine = functional.normalize(torch.from_numpy(vectors[-1]), dim=0) @ text_D
            bias = getattr(model, "logit_bias", None)
            is_sigmoid = bias is not None
            logit = model.logit_scale.exp() * cosine + bias if is_sigmoid else cosine
            scores.append(float(logit.sigmoid() if is_sigmoid else logit))
    return vectors, scores


def agrees(clip: StandardClip, name: str, model: Any, images: Any, captions: Any) -> None:
    scores, cuts, found = asked(clip, images, captions)
    vectors, expected = plain_loop(name, model.eval(), images, captions)
    for one_D, other_D in zip(found.astype(np.float32), vectors, strict=True):
        cosine = one_D @ other_D / np.linalg.norm(one_D) / np.linalg.norm(other_D)
        assert cosine > 0.99999
        np.testing.assert_allclose(one_D, other_D, rtol=2e-3, atol=2e-3 * np.abs(other_D).max())
    assert [score is None for score in scores] == [caption is None for caption in captions]
    for score, other, cut in zip(scores, expected, cuts, strict=True):
        assert (score is None) == (cut is None)
        assert score is None or score == pytest.approx(other, abs=1e-5)


@pytest.mark.parametrize("config", [VIT, RESNET, SIGLIP], ids=["vit", "resnet", "siglip"])
def test_seeded_models_give_what_a_plain_loop_gives(config: Any, tmp_path: Path) -> None:
    clip = StandardClip(config_file(tmp_path, config), pretrained="random", embeddings=True)
    name = name_of(clip)
    torch.manual_seed(0)
    model = open_clip.create_model(
        name,
        pretrained=None,
        force_preprocess_cfg=config.get("preprocess_cfg"),
        force_quick_gelu=False,
    )
    agrees(clip, name, model, pictures(), CAPTIONS)
    low, high = (0, 1) if "init_logit_bias" in config["model_cfg"] else (-1, 1)
    assert (clip.columns[0].low, clip.columns[0].high) == (low, high)


def test_the_bundled_model_gives_what_a_plain_loop_gives() -> None:
    files = with_default_weights(ScoreConfig(model="compact"))
    clip = StandardClip("compact", embeddings=True)
    name = name_of(clip)
    preprocess = json.loads(Path(files.model).read_text())["preprocess_cfg"]
    model = open_clip.create_model(
        name, pretrained=files.pretrained, force_preprocess_cfg=preprocess, force_quick_gelu=True
    )
    images, captions = pictures(), list(CAPTIONS)
    tar = SHARED / "data" / "agiqa3k" / "agiqa3k-00000.tar"
    if tar.exists():
        for sample in agiqa_pairs(tar, 30):
            images.append(sample[0])
            captions.append(sample[1])
    agrees(clip, name, model, images, captions)


def agiqa_pairs(tar: Path, count: int) -> list[tuple[RgbImage, str]]:
    files: dict[str, bytes] = {}
    with tarfile.open(tar) as archive:
        for member in islice(archive, 3 * count):
            file = archive.extractfile(member)
            assert file, "all are files"
            files[member.name] = file.read()
    names = [name.removesuffix(".jpg") for name in files if name.endswith(".jpg")]
    pictures = [Image.open(BytesIO(files[f"{name}.jpg"])).convert("RGB") for name in names]
    texts = [files[f"{name}.txt"].decode() for name in names]
    return [(np.asarray(each), text) for each, text in zip(pictures, texts, strict=True)]


def test_values_are_the_same_to_the_bit_whatever_shares_the_batch(tmp_path: Path) -> None:
    clip = StandardClip(config_file(tmp_path, VIT), pretrained="random", embeddings=True)
    images = pictures()
    together = asked(clip, images * 5, CAPTIONS * 5)
    copied: StandardClip = pickle.loads(pickle.dumps(clip))  # noqa: S301 - our own bytes
    copied.to("cpu")
    for place, (image, caption) in enumerate(zip(images, CAPTIONS, strict=True)):
        scores, cuts, found = asked(copied, [image], [caption])
        assert (scores[0], cuts[0]) == (together[0][place + 14], together[1][place + 14])
        np.testing.assert_array_equal(found[0], together[2][place + 14])


def test_text_that_is_cut_is_told(tmp_path: Path) -> None:
    clip = StandardClip(config_file(tmp_path, VIT), pretrained="random")
    fits = "word " * 14
    captions = [*CAPTIONS, fits, fits + "word"]
    _, cuts, _ = asked(clip, pictures(len(captions)), captions)
    assert cuts == [False, None, True, True, False, True, False, False, True]


def test_the_digest_knows_weights_dtype_and_caption_but_no_path(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    here, there = (config_file(tmp_path / name, VIT) for name in "ab")
    one, same = (StandardClip(path, pretrained="random", embeddings=True) for path in (here, there))
    assert (one.digest, one.tower) == (same.digest, same.tower)
    squash = config_file(tmp_path, {**VIT, "preprocess_cfg": {"resize_mode": "squash"}})
    others = [
        StandardClip(here, pretrained="random", caption="text"),
        StandardClip(here, pretrained="random", dtype="bfloat16"),
        StandardClip(squash, pretrained="random"),
        StandardClip("compact"),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 5
    tower = StandardClip(squash, pretrained="random", embeddings=True).tower
    assert tower.digest != one.tower.digest


def test_bfloat16_stays_near(tmp_path: Path) -> None:
    path = config_file(tmp_path, VIT)
    exact = asked(StandardClip(path, pretrained="random"), pictures(), CAPTIONS)[0]
    near = asked(StandardClip(path, pretrained="random", dtype="bfloat16"), pictures(), CAPTIONS)[0]
    for one, other in zip(exact, near, strict=True):
        assert one is None or one == pytest.approx(other, abs=0.02)


def test_decoding_processes_get_the_transform_alone(tmp_path: Path) -> None:
    clip = StandardClip(config_file(tmp_path, SIGLIP), pretrained="random")
    assert clip.preparer == View(height=48, width=48, resize="squash", bilinear=True)
    assert len(pickle.dumps(clip.preparer)) < 500


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"model_cfg": {"embed_dim": 8, "vision_cfg": VISION}}, r"text_cfg"),
        ({"model_cfg": {**VIT["model_cfg"], "embed_dim": 0}}, "embed_dim"),
        ({**VIT, "preprocess_cfg": {"resize_mode": "crop"}}, "resize_mode"),
    ],
)
def test_a_config_that_cant_be_used_is_one_line(config: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"^--clip .*config.json: not an open_clip .*{says}"):
        StandardClip(config_file(tmp_path, config), pretrained="random")


def test_a_tokenizer_of_another_package_names_the_extra(tmp_path: Path) -> None:
    if find_spec("transformers"):
        pytest.skip("it is here")
    text = TEXT | {"hf_tokenizer_name": "timm/ViT-B-16-SigLIP"}
    config = {"model_cfg": {**VIT["model_cfg"], "text_cfg": text}}
    with pytest.raises(ModelError, match=r"^--clip .* pip install 'shardsift\[transformers\]'$"):
        StandardClip(config_file(tmp_path, config), pretrained="random")


def test_a_name_that_is_mistyped_is_guessed() -> None:
    with pytest.raises(ModelError, match=r"--clip ViT-B32: .* did you mean ViT-B-32\?"):
        StandardClip("ViT-B32", pretrained="openai")
    with pytest.raises(ModelError, match=r"--clip-pretrained opena1: no such file"):
        StandardClip("ViT-B-32", pretrained="opena1")
