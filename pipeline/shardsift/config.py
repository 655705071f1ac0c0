"""Typed settings: YAML in, fingerprint out."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

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
AnyDtype = Literal["float32", "bfloat16", "float16", "auto"]


class Config(BaseModel):
    """Base of what a person may set: immutable, and strict about unknown keys.

    A field's description is the only text about it: flags and their help, the reference and the
    comments of `configs/` are made from it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


class Given(Enum):
    """How a field is given, if not by a flag of its name: `Annotated[int, Given.IN_FILE]`."""

    BY_PLACE = "by its place on the command line"
    IN_FILE = "in a config file alone"


def _split(value: Any) -> Any:
    """Split `a,b`, or each of several such words, as they are typed on a command line."""
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, (list, tuple)):
        return value
    return [
        part
        for word in cast(Sequence[Any], words)
        for part in (map(str.strip, word.split(",")) if isinstance(word, str) else [word])
    ]


CommaSeparated = BeforeValidator(_split)
"""Lets a tuple of words be typed as one: `decode_error,truncated`."""


class ScoreConfig(Config):
    """Everything that decides a score; all of it goes into the fingerprint."""

    model: str = Field(
        default="RN50",
        description="an open_clip model name, `hf-hub:ORG/NAME`, the path of an open_clip model "
        "config, or `compact`, the small model that comes with the package",
    )
    pretrained: str | None = Field(
        default=None,
        description="a weights tag that open_clip knows, the path of a weights file, or `random` "
        "(seeded, for tests); by default `openai`, or what `compact` and `hf-hub:` models bring "
        "along",
    )
    position_embedding: Annotated[bool, Given.IN_FILE] = Field(
        default=False,
        description="keep the image tower's position embedding; MA-CLIP leaves it out of ResNets",
    )
    prompts: Annotated[tuple[tuple[str, str], ...], Given.IN_FILE] = Field(
        default=PAPER_PROMPT_PAIRS,
        min_length=1,
        description="antonym pairs, good prompt first; by default the paper's five",
    )
    box_cox_lambda: Annotated[float, Given.IN_FILE] = Field(
        default=0.5,
        ge=-5,
        le=5,
        description="λ of the Box-Cox transform of the feature magnitudes; 0 is the logarithm",
    )
    base_sim: Annotated[float, Given.IN_FILE] = Field(
        default=1.0, description="fusion logit of the similarity cue"
    )
    base_mag: Annotated[float, Given.IN_FILE] = Field(
        default=0.6, description="fusion logit of the magnitude cue"
    )
    alpha: Annotated[float, Given.IN_FILE] = Field(
        default=1.0, description="how strongly the difference of the cues moves their weights"
    )
    crops: CropPlan = Field(
        default="paper",
        description="the crop plan. `paper`: patches of 224 px at stride 128, and the whole image "
        "resized; `fast`: at most four of the patches, and the whole; `global`: the whole alone; "
        "`dense`: the views of `paper`, patches read off one feature map (CLIP's ResNets and "
        "EfficientNets)",
    )
    dtype: AnyDtype = Field(
        default="float32",
        description="arithmetic of the image encoder: `float32`, `bfloat16`, or `float16` on GPUs; "
        "16 bits agree with 32 to about 0.01. `auto` takes `bfloat16` on a GPU that has it, "
        "`float16` on an older one, and `float32` on CPUs; what it took is recorded",
    )
    max_pixels: Annotated[int, Given.IN_FILE] = Field(
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

    def scoring(self) -> ScoreConfig:
        """Return the part that decides scores, of a config that holds more."""
        fields = ScoreConfig.model_fields
        return ScoreConfig.model_validate({name: getattr(self, name) for name in fields})

    @property
    def decided_dtype(self) -> Dtype:
        """The dtype, which is `auto` only until the device is known."""
        assert self.dtype != "auto", "decided with the device"
        return self.dtype

    def fingerprint(self, model_digest: str) -> str:
        """Hash all that changes a score: 16 hexadecimal digits.

        `model_digest` stands for the model config and its weights, so that neither the name they
        were asked for by nor the path they were loaded from counts.
        """
        settings = self.model_dump(mode="json", exclude={"model", "pretrained"})
        settings["dtype"] = self.decided_dtype
        canonical = json.dumps([settings, model_digest], sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class ModelConfig(ScoreConfig):
    """A score, and the device that computes it in this process."""

    device: str = Field(default="cpu", description="`cpu`, `cuda` or `cuda:N`")


class RayConfig(Config):
    """What a run on Ray may be given, whatever its actors do."""

    actors: int | None = Field(
        default=None,
        ge=1,
        description="number of actors; by default as many as fit now. On a cluster that is joined, "
        "those that don't fit yet start when nodes join",
    )
    address: str | None = Field(
        default=None,
        description="the Ray cluster to join, such as `auto`; by default one on this machine is "
        "started",
    )
    max_attempts: int = Field(
        default=3,
        ge=1,
        description="tries of a shard before it is given up and recorded in `_failed/`; a lost or "
        "preempted node costs none",
    )
    shard_timeout: float = Field(
        default=3600.0,
        gt=0,
        description="seconds for one shard; then its actor is killed, and that was one try",
    )
    force: bool = Field(
        default=False,
        description="go on though another run writes into this output; equal runs write equal "
        "files",
    )


_DECODE_THREADS = 2
"""Of an actor without processes that decode; so many of these are slower than the threads."""


class RunConfig(ScoreConfig, RayConfig):
    """A `score` run: what to score, where to write, and with what resources."""

    shards: Annotated[tuple[str, ...], Given.BY_PLACE] = Field(
        default=(),
        description="tars: paths, globs, {000..123} braces, folders, @list.txt; any fsspec URL",
    )
    output: str | None = Field(
        default=None, description="folder or URL for the annotations; not a folder of shards"
    )
    gpus_per_actor: float = Field(
        default=1.0, ge=0, description="GPUs of an actor; 0.5 shares a GPU, 0 scores on CPUs"
    )
    cpus_per_actor: float | None = Field(
        default=None,
        gt=0,
        description="CPU cores of an actor; by default, of an actor with a GPU, its share of its "
        "machine's, and 1 without",
    )
    decode_workers: int | None = Field(
        default=None,
        ge=0,
        description="processes that decode images, for each actor; by default the cores of an "
        "actor with a GPU, less two, if three or more are left. With 0 two threads of the actor "
        "decode",
    )
    stall_timeout: float = Field(
        default=600.0,
        gt=0,
        description="seconds in which an actor with a GPU has to read a sample or score an image; "
        "else it hangs, is started anew, and that was one try of its shard",
    )
    batch_size: int | None = Field(
        default=None,
        ge=1,
        description="crops in one call of the encoder, by default 256 on a GPU and 64 on a CPU; "
        "changes no score by more than 1e-6",
    )
    retry_errors: Annotated[tuple[ErrorCode, ...], CommaSeparated] = Field(
        default=(),
        description="score shards again that have rows with these errors, such as "
        "`decode_error,truncated`",
    )
    check_inputs: bool = Field(
        default=False, description="score shards again whose tar has changed since"
    )
    overwrite: bool = Field(
        default=False,
        description="replace this output's annotations: our own, nothing else",
    )
    dry_run: bool = Field(default=False, description="check everything, score nothing")

    def decode_workers_of_actor(self) -> int:
        """Return the number of processes that decode for an actor."""
        if self.decode_workers is not None:
            return self.decode_workers
        spare = int(self.cpus_per_actor or 1) - 2
        return spare if self.gpus_per_actor and spare > _DECODE_THREADS else 0

    @model_validator(mode="after")
    def _float16_has_a_gpu(self) -> RunConfig:
        if self.dtype == "float16" and not self.gpus_per_actor:
            raise ValueError("float16 is for GPUs; on CPUs take bfloat16 or float32")
        return self


ConfigT = TypeVar("ConfigT", bound=Config)


def bundled_configs() -> dict[str, Path]:
    """Find the configs that come with Shardsift, by name."""
    package = Path(__file__).parent
    folder = package / "configs"  # of a wheel; in a checkout they lie at its root
    if not folder.is_dir():
        folder = package.parents[1] / "configs"
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def load_config(
    kind: type[ConfigT],
    config: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> ConfigT:
    """Read settings from a YAML file and let `overrides` win over it.

    `config` is a path, or the name of a config that comes with Shardsift; a path wins.

    Raises:
        ConfigError: on an unreadable file, an unknown key (naming the nearest known one) or a
            value out of range.
    """
    file = None if config is None else _find_config(str(config))
    values = (_read_yaml(file) if file else {}) | dict(overrides or {})
    _refuse_unknown_keys(values, set(fields_by_key(kind)), file)
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


def fields_by_key(kind: type[Config]) -> dict[str, FieldInfo]:
    """Give the fields of a config by the names that people type."""
    return {field.alias or name: field for name, field in kind.model_fields.items()}


def _nearest(word: str, known: set[str]) -> str | None:
    """Return the known word that was probably meant, if one is close."""
    return next(iter(difflib.get_close_matches(word, sorted(known), n=1)), None)


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """Ask for the known word that was probably meant; say something else if none is close."""
    guess = _nearest(word, set(known))
    return f"did you mean {guess}?" if guess else otherwise


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
    except RecursionError as error:
        raise ConfigError(f"{file}: is nested too deeply for a config") from error
    except (yaml.YAMLError, ValueError) as error:  # an impossible date is a ValueError
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
            guess = _nearest(key, known)
            hint = (
                f"did you mean {guess!r}?" if guess else f"known keys: {', '.join(sorted(known))}"
            )
            raise ConfigError(f"{file or 'configuration'}: unknown key {key!r}; {hint}")
