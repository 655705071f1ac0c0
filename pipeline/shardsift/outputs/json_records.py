"""The JSON files of an output, and of `compact`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from pydantic import Field, ValidationError

from shardsift.config import ScoreConfig
from shardsift.documents import Document, first_problem
from shardsift.errors import InputError
from shardsift.measures import Contents, MeasureRecord
from shardsift.reading import TARS, Reading
from shardsift.storage.files import followed

_NAME: Final = re.compile(r"[\w-]*(?:/\d+)?")
"""Names of models and of weights, `ViT-B/32` among them."""


class RunRecord(Document):
    """`_run.json`: contents and inputs of all files of its folder.

    `config` are the settings of the measure `maclip`, `fingerprint` its digest; `embeddings` and
    `sources` are as in `Contents`; `reading` tells how shards became samples. Answers were computed
    from the embeddings of `annotations`. `weights` is a hash of the model's files, if there are
    any. If the corpus `has_moved` since some of it was scored, shards are compared only by size.
    """

    fingerprint: str = ""
    config: dict[str, Any] = Field(default_factory=dict[str, Any])
    measures: dict[str, MeasureRecord]
    embeddings: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    annotations: str | None = None
    root: str
    inputs: tuple[str, ...]
    reading: Reading = TARS
    version: str
    weights: str | None = None
    has_moved: bool = False

    @property
    def contents(self) -> Contents:
        """Contents of the files."""
        return Contents(
            measures=self.measures,
            config=self.config,
            embeddings=self.embeddings,
            sources=self.sources,
        )

    def place(self) -> str:
        """Return `root`, to read shards there. Raises InputError."""
        return followed(self.root, "--shards")

    def patterns(self) -> tuple[str, ...]:
        """Return `inputs`, to read shards there. Raises InputError."""
        return tuple(followed(pattern, "--shards") for pattern in self.inputs)


class StageTimes(Document):
    """Seconds in which a stage worked, and in which it waited."""

    busy: float
    waiting: float


class RunSummary(Document):
    """`_summary.json`: counts of all shards, and the pace of the last run.

    `means` are those of further columns of fractions. `manifest` is the SHA-256 of the manifest
    that the counts are of.
    """

    shards: int
    failed_shards: int
    rows: int
    scored: int
    errors: dict[str, int]
    passed_over: dict[str, int]
    quality_quantiles: dict[str, float] | None
    means: dict[str, float]
    manifest: str
    fingerprint: str
    actors: int
    seconds: float
    images_per_second: float
    stage_seconds: dict[str, StageTimes]


COMPACTING: Final = "_compacting.json"
"""Written first by `compact`: marks a folder of compacted annotations, which `compact` may replace.
"""


class CompactRecord(Document):
    """`_compacting.json`: whose annotations these are, and SHA-256 sums of the files.

    There are no sums until all files are written.
    """

    annotations: str
    sums: dict[str, str] = Field(default_factory=dict[str, str])


def recorded_config(record: RunRecord | None, **given: Any) -> ScoreConfig:
    """Return the settings of a run, with those that are given in their place; None gives nothing.

    Another model than the recorded one has weights of its own. A model config or weights that only
    the record names are never loaded: its writer could run any code that way.

    Raises:
        InputError: if no record says, if its settings aren't those of this version, or if it names
            a file or a model of a hub that isn't given.
    """
    if record is None or not record.config:
        raise InputError("no _run.json with the configuration of these annotations")
    given = {name: value for name, value in given.items() if value is not None}
    if given.get("model", record.config.get("model")) != record.config.get("model"):
        given = {"pretrained": None} | given
    recorded = {k: v for k, v in record.config.items() if k in ScoreConfig.model_fields}
    try:
        config = ScoreConfig.model_validate(recorded | given)
    except ValidationError as error:
        raise InputError(
            f"the settings in its _run.json aren't those of this version: {first_problem(error)}"
        ) from error
    places = {"model": config.model, "pretrained": config.pretrained or ""}
    unnamed = {name: p for name, p in places.items() if name not in given and _is_place(p)}
    if unnamed:
        flags = " ".join(f"--{name} {place}" for name, place in unnamed.items())
        raise InputError(
            "its _run.json names a model file, and files that only a record names are never "
            f"loaded; if you trust it, pass {flags}"
        )
    return config


def _is_place(name: str) -> bool:
    """Return whether a name is a path or a hub's model, and none of open_clip's own names."""
    return name.endswith(".json") or ":" in name or _NAME.fullmatch(name) is None or _is_file(name)


def _is_file(name: str) -> bool:
    return bool(name) and Path(name).is_file()
