"""The weights that a configuration names; without torch, which takes seconds to import."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from shardsift.config import AnyDtype, ClipConfig, ScoreConfig
from shardsift.errors import ConfigError, ModelError, NotHereError

RANDOM_WEIGHTS = "random"
"""Weights tag of seeded random weights, whose scores carry no meaning."""

BUNDLED_MODEL = "compact"
"""Model name of the small CLIP that comes with the package."""

_BUNDLED_FOLDER = Path(__file__).parents[1] / "models" / "compact_model"


def with_default_weights(config: ScoreConfig) -> ScoreConfig:
    """Fill in model and weights as open_clip takes them.

    Raises:
        ModelError: if model and weights don't go together.
    """
    if config.model == BUNDLED_MODEL:
        if config.pretrained is not None:
            raise ModelError(f"--model {BUNDLED_MODEL} has its own weights; omit --pretrained")
        files = _BUNDLED_FOLDER / "config.json", _BUNDLED_FOLDER / "weights.safetensors"
        model, pretrained = map(str, files)
        return config.model_copy(update={"model": model, "pretrained": pretrained})
    if config.pretrained is not None or config.model.startswith("hf-hub:"):
        return config
    if config.model.endswith(".json"):
        raise ModelError(f"--model {config.model}: needs --pretrained, a path to its weights")
    return config.model_copy(update={"pretrained": "openai"})


def standard_config(clip: ClipConfig, dtype: AnyDtype) -> ScoreConfig:
    """Describe a standard CLIP as the settings of an encoder."""
    return ScoreConfig(
        model=clip.model, pretrained=clip.pretrained, dtype=dtype, position_embedding=True
    )


@contextmanager
def flags_of_clip() -> Generator[None]:
    """Name the flags of a standard CLIP in errors about models in the block."""
    try:
        yield
    except (ModelError, NotHereError, ConfigError) as error:
        told = str(error).replace("--model ", "--clip ")
        raise type(error)(told.replace("--pretrained ", "--clip-pretrained ")) from error


def clip_settings(clip: ClipConfig, dtype: AnyDtype) -> dict[str, Any]:
    """Describe a standard CLIP for records."""
    return {**clip.model_dump(), "dtype": dtype}


def sum_of_files(config: ScoreConfig) -> str | None:
    """Hash the files that a model is loaded from, and the version of what loads them.

    None if they are not files here but a name that a model hub knows.

    Raises:
        ModelError: if model and weights don't go together.
    """
    config = with_default_weights(config)
    if config.pretrained is None or not Path(config.pretrained).is_file():
        return None
    files = [config.pretrained, *([config.model] if Path(config.model).is_file() else [])]
    digest = hashlib.sha256(version("open_clip_torch").encode())
    for file in files:
        with Path(file).open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()
