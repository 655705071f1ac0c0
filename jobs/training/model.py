"""The compact CLIP: its architecture, its forward pass in training, and its export.

The one module outside `scoring.encoder` that knows open_clip: it builds what that one loads.

Shapes in names: N crops, S side of a crop, T texts, L tokens, F pooled features, D features.
"""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any, Final, cast

import open_clip
import torch
from open_clip.timm_model import TimmModel
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from jobs.training.imagenet import MEAN, STD, load_imagenet

Clip = open_clip.CLIP

MODEL_CONFIG: Final[dict[str, Any]] = {
    "embed_dim": 256,
    "quick_gelu": True,
    "vision_cfg": {
        "image_size": 224,
        "timm_model_name": "tf_efficientnet_lite0",
        "timm_pool": "avg",
        "timm_proj": "linear",
    },
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 64,
        "heads": 4,
        "layers": 2,
    },
}
"""open_clip's."""

CONFIG_FILE: Final = "config.json"
WEIGHTS_FILE: Final = "weights.safetensors"
_TRAIN_CONTEXT: Final = 24
"""Tokens kept of a text in training: attention is causal, so padding behind it changes nothing."""


def build_model(frozen_blocks: int) -> Clip:
    """Build a model whose image tower knows ImageNet, and whose projection and text tower are new.

    Its stem and first `frozen_blocks` groups of blocks (of 7) are not trained. In evaluation mode,
    so that its batch norms keep the statistics of real photographs instead of learning those of
    ruined ones; nothing else in it depends on the mode.

    Raises ConfigError if ImageNet's weights can't be had.
    """
    model = open_clip.CLIP(**MODEL_CONFIG)
    trunk = cast(Any, _tower(model).trunk)
    load_imagenet(trunk)
    for part in (trunk.conv_stem, trunk.bn1, *trunk.blocks[:frozen_blocks]):
        part.requires_grad_(False)
    return model.eval().to(memory_format=torch.channels_last)


def pooled_features(model: Clip, crops_N3SS: Tensor) -> Tensor:
    """Average the trunk's output for uint8 crops of any side, shape (N, F)."""
    mean_311, std_311 = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    x = (crops_N3SS.float() / 255.0 - mean_311) / std_311
    return cast(Any, _tower(model).trunk)(x.contiguous(memory_format=torch.channels_last))


def projected_features(model: Clip, pooled_NF: Tensor) -> Tensor:
    """Project the trunk's output for crops to features before normalisation, shape (N, D)."""
    return _tower(model).head(pooled_NF)


def text_features(model: Clip, texts: list[str]) -> Tensor:
    """Encode texts to unit features, shape (T, D)."""
    tokens_TL = cast(Tensor, _tokenizer()(texts))[:, :_TRAIN_CONTEXT]
    length = tokens_TL.shape[1]
    tower = cast(Any, model)  # a module's attributes have wrong types
    x = tower.token_embedding(tokens_TL) + tower.positional_embedding[:length]
    x = tower.ln_final(tower.transformer(x, attn_mask=tower.attn_mask[:length, :length]))
    ends_T = tokens_TL.argmax(dim=-1)  # the end-of-text token has the highest number
    projected_TD = x[torch.arange(len(x)), ends_T] @ tower.text_projection
    return functional.normalize(projected_TD, dim=-1)


def parameter_groups(
    model: Clip, *, new: float, trunk: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Group parameters for the optimiser: learning rates for new ones and for the trunk's.

    New matrices decay; vectors and embeddings do not, nor does the trunk, which has a start to
    stay near instead of zero.
    """
    pretrained = {id(parameter) for parameter in _tower(model).trunk.parameters()}
    known: list[nn.Parameter] = []
    decaying: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if id(parameter) in pretrained:
            known.append(parameter)
        else:
            matrix = parameter.ndim > 1 and "embedding" not in name
            (decaying if matrix else plain).append(parameter)
    return [
        {
            "params": [parameter for parameter in known if parameter.requires_grad],
            "peak": trunk,
            "weight_decay": 0.0,
        },
        {"params": decaying, "peak": new, "weight_decay": weight_decay},
        {"params": plain, "peak": new, "weight_decay": 0.0},
    ]


def export(state: dict[str, Tensor], folder: Path) -> None:
    """Write `config.json` and fp16 `weights.safetensors`, each at once or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    # Counters of batches stay integers; open_clip makes its own attention mask.
    halves = {
        name: (value.half() if value.is_floating_point() else value).contiguous().clone()
        for name, value in state.items()
        if name != "attn_mask"
    }
    published = {"model_cfg": MODEL_CONFIG, "preprocess_cfg": {"mean": MEAN, "std": STD}}
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        weights, config = Path(scratch, "weights"), Path(scratch, "config")
        save_file(halves, weights)
        weights.chmod(0o644)
        config.write_text(json.dumps(published, indent=2) + "\n")
        weights.replace(folder / WEIGHTS_FILE)
        config.replace(folder / CONFIG_FILE)


@functools.cache
def _tokenizer() -> Any:
    return open_clip.get_tokenizer("RN50")


def _tower(model: Clip) -> TimmModel:
    assert isinstance(model.visual, TimmModel)
    return model.visual
