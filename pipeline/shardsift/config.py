"""Typed settings: YAML in, fingerprint out."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import yaml
from pydantic import (
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from shardsift.errors import ConfigError, ErrorCode

PAPER_PROMPT_PAIRS = (
    ("Good image", "bad image"),
    ("Sharp image", "blurry image"),
    ("sharp edges", "blurry edges"),
    ("High resolution image", "low resolution image"),
    ("Noise-free image", "noisy image"),
)

PILLOW_BOMB_ERROR_PIXELS = 178_956_970
"""Above this Pillow itself refuses to open an image."""

CropPlan = Literal["paper", "fast", "global", "dense"]
Dtype = Literal["float32", "bfloat16", "float16"]


class Settings(BaseModel):
    """Base of all settings: immutable, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ScoreConfig(Settings):
    """Everything that decides a score; all of it goes into the fingerprint."""

    model: str = Field(
        default="RN50",
        description="open_clip model name, `hf-hub:ORG/NAME`, path to an open_clip model config, "
        "or `compact`, the small model that comes with the package",
    )
    pretrained: str | None = Field(
        default=None,
        description="weights tag, path to a weights file, or `random` (seeded, for tests); "
        "by default `openai`, or what `compact` and `hf-hub:` models bring along",
    )
    position_embedding: bool = Field(
        default=False,
        description="keep the image tower's position embedding; MA-CLIP leaves it out of ResNets",
    )
    prompts: tuple[tuple[str, str], ...] = Field(
        default=PAPER_PROMPT_PAIRS,
        min_length=1,
        description="antonym pairs, good prompt first",
    )
    box_cox_lambda: float = Field(
        default=0.5,
        ge=-5,
        le=5,
        description="λ of the Box-Cox transform of the feature magnitudes; 0 is the logarithm",
    )
    base_sim: float = Field(default=1.0, description="fusion logit of the similarity cue")
    base_mag: float = Field(default=0.6, description="fusion logit of the magnitude cue")
    alpha: float = Field(default=1.0, description="how strongly the cues' difference moves weights")
    crops: CropPlan = Field(
        default="paper",
        description="`paper`: patches of 224 at stride 128, and the whole image resized; `fast`: "
        "at most four of the patches, and the whole; `global`: the whole alone; `dense`: the "
        "views of `paper`, patches read off one feature map (CLIP's ResNets and EfficientNets)",
    )
    dtype: Dtype = Field(
        default="float32", description="arithmetic of the image encoder; float16 for GPUs"
    )
    max_pixels: int = Field(
        default=89_478_485,
        ge=1,
        le=PILLOW_BOMB_ERROR_PIXELS,
        description="images of more pixels get a `too_large` row and are not decoded",
    )

    @field_validator("prompts")
    @classmethod
    def _prompts_say_something(
        cls, pairs: tuple[tuple[str, str], ...]
    ) -> tuple[tuple[str, str], ...]:
        if not all(prompt.strip() for pair in pairs for prompt in pair):
            raise ValueError("a prompt is empty")
        return pairs

    def fingerprint(self, model_digest: str) -> str:
        """Hash all that changes a score: 16 hexadecimal digits.

        `model_digest` stands for the model config and its weights, so that neither the name they
        were asked for by nor the path they were loaded from counts.
        """
        settings = self.model_dump(mode="json", exclude={"model", "pretrained"})
        canonical = json.dumps([settings, model_digest], sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class RayConfig(Settings):
    """What a run on Ray may be given, whatever its actors do."""

    actors: int | None = Field(
        default=None, ge=1, description="number of actors; by default as many as fit the cluster"
    )
    cpus_per_actor: float = Field(default=1.0, gt=0, description="CPU cores of an actor")
    address: str | None = Field(
        default=None, description="Ray cluster to join; by default one on this machine is started"
    )
    max_attempts: int = Field(
        default=3, ge=1, description="how often a shard is tried before it is given up"
    )
    shard_timeout: float = Field(
        default=3600.0, gt=0, description="seconds for one shard before its actor is killed"
    )
    force: bool = Field(
        default=False, description="go on though another run writes into this output"
    )


class RunConfig(ScoreConfig, RayConfig):
    """A `score` run: what to score, where to write, and with what resources."""

    shards: tuple[str, ...] = Field(
        default=(), description="tars: paths, globs, braces, folders, @lists, any fsspec URL"
    )
    output: str | None = Field(default=None, description="folder or URL for the annotations")
    batch_size: int = Field(default=64, ge=1, description="crops in one encoder call")
    decode_threads: int = Field(default=2, ge=1, description="threads that decode, for each actor")
    gpus_per_actor: float = Field(
        default=1.0, ge=0, description="GPUs of an actor; 0 scores on the CPU, 0.5 shares a GPU"
    )
    retry_errors: tuple[ErrorCode, ...] = Field(
        default=(), description="score committed shards again that have rows with these errors"
    )
    check_inputs: bool = Field(
        default=False, description="score committed shards again whose tar has changed"
    )
    overwrite: bool = Field(
        default=False, description="delete this output's annotations and start anew"
    )
    dry_run: bool = Field(default=False, description="check everything and score nothing")

    @model_validator(mode="after")
    def _float16_has_a_gpu(self) -> RunConfig:
        if self.dtype == "float16" and not self.gpus_per_actor:
            raise ValueError("float16 is for GPUs; on CPUs take bfloat16 or float32")
        return self

    def scoring(self) -> ScoreConfig:
        """The part that decides scores."""
        fields = ScoreConfig.model_fields
        return ScoreConfig.model_validate({name: getattr(self, name) for name in fields})


SettingsT = TypeVar("SettingsT", bound=Settings)


def bundled_configs() -> dict[str, Path]:
    """Find the configs that come with Shardsift, by name."""
    package = Path(__file__).parent
    folder = package / "configs"  # of a wheel; in a checkout they lie at its root
    if not folder.is_dir():
        folder = package.parents[1] / "configs"
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def load_settings(
    kind: type[SettingsT],
    config: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> SettingsT:
    """Read settings from a YAML file and let `overrides` win over it.

    `config` is a path, or the name of a config that comes with Shardsift; a path wins.

    Raises:
        ConfigError: on an unreadable file, an unknown key (naming the nearest known one) or a
            value out of range.
    """
    file = None if config is None else _find_config(str(config))
    values = (_read_yaml(file) if file else {}) | dict(overrides or {})
    _refuse_unknown_keys(values, set(kind.model_fields), file)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        if first["type"] == "missing":
            raise ConfigError(f"{where} has to be given") from error
        if not where:  # several settings that don't go together
            raise ConfigError(reason) from error
        raise ConfigError(f"{where}: {reason} (got {first['input']!r})") from error


def parse_bytes(name: str, text: str) -> int:
    """A size such as `1GB` or `256MiB`. Raises ConfigError, which says what `name` is for."""
    try:
        size = TypeAdapter(ByteSize).validate_python(text)
    except ValidationError as error:
        raise ConfigError(f"{name}: a size such as 256MiB (got {text!r})") from error
    if size < 1:
        raise ConfigError(f"{name}: has to be more than nothing (got {text!r})")
    return size


def nearest(word: str, known: set[str]) -> str | None:
    """The known word that was probably meant, if one is close."""
    return next(iter(difflib.get_close_matches(word, sorted(known), n=1)), None)


def _find_config(name: str) -> Path:
    bundled = bundled_configs()
    if Path(name).is_file() or Path(name).name != name or "." in name:
        return Path(name)
    if name not in bundled:
        known = ", ".join(bundled)
        raise ConfigError(f"--config {name}: neither a file nor one of {known}")
    return bundled[name]


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text())
    except OSError as error:
        raise ConfigError(f"{file}: can't be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not YAML: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: has to be a mapping of keys to values")
    return {
        str(key).replace("-", "_"): value for key, value in cast(dict[Any, Any], content).items()
    }


def _refuse_unknown_keys(values: Mapping[str, Any], known: set[str], file: Path | None) -> None:
    for key in values:
        if key not in known:
            guess = nearest(key, known)
            hint = (
                f"did you mean {guess!r}?" if guess else f"known keys: {', '.join(sorted(known))}"
            )
            raise ConfigError(f"{file or 'configuration'}: unknown key {key!r}; {hint}")
