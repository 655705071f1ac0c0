"""The compact CLIP: its architecture, its forward pass at any crop size, and its export.

The one module outside `scoring.encoder` that knows open_clip: it builds what that one loads.

Shapes in names: N crops, T texts, L tokens, C channels, D features.
"""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any, Final, cast

import open_clip
import torch
from open_clip.modified_resnet import AttentionPool2d, ModifiedResNet
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import ConfigError

Clip = open_clip.CLIP

MODEL_CONFIG: Final[dict[str, Any]] = {
    "embed_dim": 256,
    "quick_gelu": True,
    "vision_cfg": {
        "image_size": 224,
        "layers": [2, 3, 5, 4],
        "width": 8,
        "head_width": 64,
        "patch_size": None,
    },
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 64,
        "heads": 4,
        "layers": 2,
    },
}
"""open_clip's; attention pooling has width * 32 / head_width = 4 heads."""

_WEIGHTS: Final = "weights.safetensors"
_TRAIN_CONTEXT: Final = 24
"""Tokens kept of a text in training: attention is causal, so padding behind it changes nothing."""


def build_model() -> Clip:
    """A new model without positions in its attention pooling, as MA-CLIP wants it."""
    model = open_clip.CLIP(**MODEL_CONFIG)
    _tower(model).attnpool.positional_embedding.requires_grad_(False).zero_()
    return model.to(memory_format=torch.channels_last)


def image_features(model: Clip, crops_N3SS: Tensor) -> Tensor:
    """Features before normalisation, shape (N, D), of uint8 crops of any side divisible by 32."""
    mean_311 = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(3, 1, 1)
    std_311 = torch.tensor(open_clip.OPENAI_DATASET_STD).view(3, 1, 1)
    x = (crops_N3SS.float() / 255.0 - mean_311) / std_311
    tower = _tower(model)
    x = tower.stem(x.contiguous(memory_format=torch.channels_last))
    x = tower.layer4(tower.layer3(tower.layer2(tower.layer1(x))))
    return _pool(tower.attnpool, x)


def text_features(model: Clip, texts: list[str]) -> Tensor:
    """Unit features, shape (T, D)."""
    tokens_TL = cast(Tensor, _tokenizer()(texts))[:, :_TRAIN_CONTEXT]
    length = tokens_TL.shape[1]
    tower = cast(Any, model)  # the attributes of a module are typed as anything but what they are
    x = tower.token_embedding(tokens_TL) + tower.positional_embedding[:length]
    x = tower.ln_final(tower.transformer(x, attn_mask=tower.attn_mask[:length, :length]))
    ends_T = tokens_TL.argmax(dim=-1)  # the end-of-text token has the highest number
    projected_TD = x[torch.arange(len(x)), ends_T] @ tower.text_projection
    return functional.normalize(projected_TD, dim=-1)


def export(state: dict[str, Tensor], folder: Path) -> None:
    """Write `config.json` and fp16 `weights.safetensors`, each at once or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    # Counters of batches are integers and stay so; open_clip makes its attention mask by itself.
    halves = {
        name: (value.half() if value.is_floating_point() else value).contiguous().clone()
        for name, value in state.items()
        if name != "attn_mask"
    }
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        weights, config = Path(scratch, "weights"), Path(scratch, "config")
        save_file(halves, weights)
        weights.chmod(0o644)
        config.write_text(json.dumps(MODEL_CONFIG, indent=2) + "\n")
        weights.replace(folder / _WEIGHTS)
        config.replace(folder / "config.json")


def load_exported(model: Clip, folder: Path) -> None:
    """Take over weights that `export` wrote; those of a shallower tower do, too.

    Blocks that they lack stay new, and a new block's last batch norm is zero: it changes nothing
    until it is trained. Raises ConfigError where there are none that fit.
    """
    file = folder / _WEIGHTS
    try:
        lacking = model.load_state_dict(load_file(file), strict=False)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ConfigError(f"{file}: not weights to start from: {error}") from error
    misfits = [*lacking.unexpected_keys]
    misfits += [key for key in lacking.missing_keys if not key.startswith("visual.layer")]
    if misfits:
        raise ConfigError(f"{file}: not weights to start from: {misfits[0]} doesn't fit")


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Optimiser groups: matrices decay, vectors and embeddings do not."""
    decay: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (decay if parameter.ndim > 1 and "embedding" not in name else plain).append(parameter)
    return [
        {"params": decay, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]


@functools.cache
def _tokenizer() -> Any:
    return open_clip.get_tokenizer("RN50")


def _tower(model: Clip) -> ModifiedResNet:
    assert isinstance(model.visual, ModifiedResNet)
    return model.visual


def _pool(pooling: AttentionPool2d, map_NCHW: Tensor) -> Tensor:
    """open_clip's attention pooling, with the mean as its only query and for any map size."""
    tokens_NLC = map_NCHW.flatten(2).transpose(1, 2)
    mean_N1C = tokens_NLC.mean(dim=1, keepdim=True)
    tokens_NLC = torch.cat([mean_N1C, tokens_NLC], dim=1)
    count, _, width = tokens_NLC.shape
    heads = pooling.num_heads

    def split(values: Tensor) -> Tensor:
        return values.view(count, -1, heads, width // heads).transpose(1, 2)

    mixed = functional.scaled_dot_product_attention(
        split(pooling.q_proj(mean_N1C)),
        split(pooling.k_proj(tokens_NLC)),
        split(pooling.v_proj(tokens_NLC)),
    )
    return pooling.c_proj(mixed.transpose(1, 2).reshape(count, width))
