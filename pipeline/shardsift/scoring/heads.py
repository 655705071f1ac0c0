"""Heads: small networks from an image tower's embeddings to one column.

Shapes in names: N embeddings, D values of each, C outputs.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from shardsift.columns import Column
from shardsift.config.heads import HeadFile, HeadSpec
from shardsift.errors import ModelError
from shardsift.measures import Measure, Tower, features_of, short_digest
from shardsift.records import Embedding

_AT_A_TIME = 64
"""Embeddings in each call: calls of one size round alike, whatever shares them."""

_ACTIVATIONS: Final = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


class Head(Measure):
    """A head with its weights, for the embeddings of one tower; can be pickled."""

    def __init__(self, spec: HeadSpec, tower_name: str, tower: Tower) -> None:
        """Load the weights.

        Raises:
            ModelError: if they can't be read, or don't fit the layers or the tower.
        """
        self.name: str = spec.name
        self.needs: Sequence[str] = (features_of(tower_name),)
        self._settings = spec.settings
        self._tower_digest = tower.digest
        self._head: HeadFile = spec.head
        self._weights = _checked(spec, tower.values)
        low, high = (0, 1) if spec.head.gives != "value" else (spec.head.low, spec.head.high)
        self.columns: Sequence[Column] = (
            Column(name=spec.name, type="float32", meaning=spec.head.meaning, low=low, high=high),
        )

    @property
    def settings(self) -> Mapping[str, Any]:
        """The content of its file, and the SHA-256 of its weights."""
        return self._settings

    @property
    def digest(self) -> str:
        """Hash of its file, its weights and the tower."""
        return short_digest(self.name, self.version, self._settings, self._tower_digest)

    @torch.inference_mode()
    def measure(self, batch: Embedding) -> Sequence[Any]:
        """Compute the column of embeddings, shape (N, D); NaN for zeros, which are no embedding."""
        found: list[Tensor] = []
        for part_ND in torch.from_numpy(batch).split(_AT_A_TIME):
            missing = _AT_A_TIME - len(part_ND)
            x_ND = functional.pad(part_ND.float(), (0, 0, 0, missing))
            found.append(self._apply(x_ND)[: len(part_ND)])
        values_N = torch.cat(found).numpy() if found else np.empty(0, np.float32)
        return [np.where((batch == 0).all(axis=1), np.float32(np.nan), values_N)]

    def _apply(self, x: Tensor) -> Tensor:
        head = self._head
        x = functional.normalize(x, dim=1) if head.normalised else x
        for layer in head.layers:
            if layer.activation is not None:
                x = _ACTIVATIONS[layer.activation](x)
            elif layer.linear is not None:
                weight, bias = _names(layer.linear, "weight", "bias")
                x = functional.linear(x, self._weights[weight], self._weights.get(bias))
            else:
                mean, variance = _names(layer.standardise or "", "mean", "variance")
                x = (x - self._weights[mean]) / self._weights[variance].sqrt()
        if head.gives == "softmax":
            x = x.softmax(dim=1)
        return (x.sigmoid() if head.gives == "sigmoid" else x)[:, head.place]


def load_heads(specs: Sequence[HeadSpec], towers: Mapping[str, tuple[Tower, Any]]) -> list[Head]:
    """Load heads, each for the tower that it names.

    Args:
        specs: the heads.
        towers: the towers that are there, each with the settings of its measure, by name.

    Raises:
        ModelError: if the tower of a head isn't among them, or its weights don't fit.
    """
    return [Head(spec, *_tower_of(spec, towers)) for spec in specs]


def _tower_of(spec: HeadSpec, towers: Mapping[str, tuple[Tower, Any]]) -> tuple[str, Tower]:
    for name, (tower, settings) in towers.items():
        if spec.suits(name, tower.digest, settings):
            return name, tower
    wanted = spec.head.tower
    told = ", ".join(filter(None, (wanted.pretrained, wanted.digest)))
    there = ", ".join(
        f"{name} ({settings.get('model', name) if isinstance(settings, Mapping) else name}, "
        f"{tower.digest})"
        for name, (tower, settings) in towers.items()
    )
    raise ModelError(
        f"--head {spec.name}: is for embeddings of {wanted.model}{f' ({told})' if told else ''}, "
        f"and these are of {there or 'no tower'}; if a tower is the same, put its digest into "
        "`tower` in the head's file"
    )


def _checked(spec: HeadSpec, values: int) -> dict[str, Tensor]:
    """Return the weights that the layers name, float32, checked to fit one behind the other."""
    told = f"--head {spec.name}: {spec.weights}"
    weights = _read(spec.weights, told)
    kept: dict[str, Tensor] = {}
    size = values
    for layer in spec.head.layers:
        shapes: dict[str, tuple[int, ...]] = {}
        after = size
        if layer.linear is not None:
            weight, bias = _names(layer.linear, "weight", "bias")
            found = weights.get(weight)
            after = found.shape[0] if found is not None and found.ndim == 2 else size
            shapes = {weight: (after, size)} | ({bias: (after,)} if bias in weights else {})
        elif layer.standardise is not None:
            shapes = dict.fromkeys(_names(layer.standardise, "mean", "variance"), (size,))
        for name, shape in shapes.items():
            if name not in weights:
                raise ModelError(f"{told}: has no {name}; there are {', '.join(sorted(weights))}")
            own = weights[name].float()
            if own.ndim == len(shape) + 1 and own.shape[0] == 1 and layer.standardise is not None:
                own = own[0]
            if tuple(own.shape) != shape:
                raise ModelError(f"{told}: {name} has the shape {tuple(own.shape)}, not {shape}")
            kept[name] = own.contiguous()
        size = after
    if spec.head.place >= size or (spec.head.gives != "softmax" and size != 1):
        raise ModelError(f"{told}: gives {size} values, which `gives` and `place` don't fit")
    return kept


def _read(file: Path, told: str) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{told}: is no file of plain weights, and code in it is not run; save its state_dict, "
            "or convert it to .safetensors"
        ) from error
    except (OSError, ValueError, RuntimeError, EOFError, safetensors.SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{told}: can't be read: {reason or 'it ends early'}") from error
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(w, Tensor) for w in content.values()):
        raise ModelError(f"{told}: is no state_dict; save that of the model")
    return content


def _names(prefix: str, *names: str) -> list[str]:
    return [f"{prefix}.{name}" if prefix else name for name in names]
