"""Files of heads: small networks on an image tower's embeddings, such as aesthetic predictors."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from shardsift.config.base import Config, OneOrMore
from shardsift.config.loading import bundled_configs, read_yaml
from shardsift.config.mistakes import ValueSources
from shardsift.errors import ConfigError

_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")


class HeadTower(Config):
    """The tower whose embeddings a head expects."""

    model: str = Field(description="its open_clip name, or `maclip`")
    pretrained: str | None = Field(default=None, description="its weights, by their tag")
    digest: str | None = Field(
        default=None, description="the tower's digest in `_run.json`; if given, only that counts"
    )


class Layer(Config):
    """One step of a head; exactly one field is given."""

    linear: str | None = Field(
        default=None, description="a linear layer: what its weights' names begin with"
    )
    standardise: str | None = Field(
        default=None, description="subtract `mean`, divide by the root of `variance`: as `linear`"
    )
    activation: Literal["relu", "gelu", "tanh", "sigmoid"] | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if sum(value is not None for value in self.model_dump().values()) != 1:
            raise ValueError("a layer is one of linear, standardise and activation")
        return self


class HeadFile(Config):
    """Content of a head's file."""

    tower: HeadTower
    weights: str = Field(
        description="file of weights, `.safetensors` or `.pth`, beside this file or in the folder "
        "where the command runs"
    )
    normalised: bool = Field(description="whether embeddings are made unit vectors first")
    layers: tuple[Layer, ...] = Field(min_length=1)
    gives: Literal["value", "sigmoid", "softmax"] = "value"
    place: int = Field(default=0, ge=0, description="of the outputs the one that counts")
    low: float | None = None
    high: float | None = None
    meaning: str = Field(description="meaning of the column, in one line")
    source: str = Field(default="", description="where the weights come from")
    licence: str = ""


@dataclass(frozen=True, slots=True)
class HeadSpec:
    """A head that was asked for, and its weights file."""

    name: str
    head: HeadFile
    weights: Path

    @property
    def settings(self) -> dict[str, Any]:
        """Describe it for records; with the SHA-256 of its weights, whatever their path."""
        with self.weights.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        return self.head.model_dump(mode="json", exclude_none=True) | {"weights": checksum}

    def suits(self, name: str, tower: str, settings: Any) -> bool:
        """Return whether a tower is its own: by digest, or by model and weights."""
        wanted = self.head.tower
        if wanted.digest is not None:
            return wanted.digest == tower
        if not isinstance(settings, Mapping) or "model" not in settings:
            return wanted.model == name
        return (wanted.model, wanted.pretrained) == (settings["model"], settings.get("pretrained"))


class HeadsConfig(Config):
    """Settings of heads and attributes on the features of towers."""

    attribute_of: str = Field(
        default="maclip",
        description="the tower that attributes are asked of: `maclip`, or a standard CLIP, such as "
        "`clip`, which knows where things are in a picture",
    )

    head: Annotated[tuple[str, ...], OneOrMore] = Field(
        default=(),
        description="a small network on CLIP embeddings, such as an aesthetic predictor, as "
        "`NAME=FILE.yaml`; may be repeated. The column is called NAME; the file names tower, "
        "weights and layers. `laion-aesthetic-v2`, `laion-aesthetic-v1`, `laion-nsfw-l14` and "
        "`laion-nsfw-h14` are files of this package, without their weights",
    )

    def heads(self) -> list[HeadSpec]:
        """Read the files of all heads, sorted by name. Raises ConfigError."""
        found: dict[str, HeadSpec] = {}
        for word in self.head:
            name, equals, place = word.partition("=")
            if not equals or not _NAME.fullmatch(name):
                raise ConfigError(
                    f"--head {word}: write NAME=FILE.yaml; NAME becomes a column, so it has "
                    "lower-case letters, digits and _"
                )
            if name in found:
                raise ConfigError(f"--head {word}: {name} is given twice; rename one")
            found[name] = read_head(name, place)
        return [found[name] for name in sorted(found)]


def bundled_heads() -> dict[str, Path]:
    """Find the heads that come with Shardsift, by name."""
    (folder,) = {file.parent for file in bundled_configs().values()}
    return {file.stem: file for file in sorted((folder / "heads").glob("*.yaml"))}


def read_head(name: str, place: str) -> HeadSpec:
    """Read the file of a head, or of one that comes with Shardsift. Raises ConfigError."""
    file = Path(place)
    if not file.is_file() and place in bundled_heads():
        file = bundled_heads()[place]
    content = read_yaml(file)
    told: Sequence[str] = ()
    try:
        head = HeadFile.model_validate(content)
    except ValidationError as error:
        told = ValueSources(HeadFile, file, {}, ()).mistakes(error)
        raise ConfigError("\n".join(f"{file}: {line}" for line in told)) from error
    folders = [file.parent, Path()]
    weights = next((f / head.weights for f in folders if (f / head.weights).is_file()), None)
    if weights is None:
        where = f" from {head.source}" if head.source else ""
        raise ConfigError(
            f"--head {name}: its weights {head.weights} are not here; put them{where} into this "
            f"folder, or beside {file}"
        )
    return HeadSpec(name, head, weights)
