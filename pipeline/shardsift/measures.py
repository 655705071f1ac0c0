"""Measures: each computes columns, for every sample of a shard.

`maclip` is the score. A measure of pictures has `prepare`, which runs in decoding processes, and
`measure`, which runs in the actor; a measure of a tower's features only has `measure`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict

from shardsift.columns import COLUMNS, Column, RecordedColumn, is_known, named, with_further
from shardsift.config import ATTRIBUTE_PREFIX, Attributes, ScoreConfig
from shardsift.errors import ConfigError
from shardsift.records import RgbImage

MACLIP = "maclip"
"""The measure that gives `quality`, and the tower whose features it is made of."""

_FEATURES = "features:"


def features_of(tower: str) -> str:
    """Name the need of a measure that works on a tower's features."""
    return _FEATURES + tower


FEATURES = features_of(MACLIP)

MACLIP_COLUMNS = named("crops", "quality", "q_sim", "q_mag", "w_sim", "quality_min", "quality_std")


_NAME = re.compile(r"[a-z][a-z0-9_]*")
_MEASURED = frozenset(c.name for c in (*MACLIP_COLUMNS, *named("sha256", "phash")))


@dataclass(frozen=True, slots=True)
class Picture:
    """An image file, and the RGB pixels that it was decoded to; None if it can't be."""

    file: bytes | memoryview
    pixels: RgbImage | None


class Preparer(Protocol):
    """The part of a measure that decoding processes need; pickled to them with each chunk."""

    @property
    def needs(self) -> Sequence[str]:
        """See `Measure`."""
        ...

    def prepare(self, picture: Picture) -> Any:
        """Return what the measure needs of a picture. Doesn't import torch."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Tower:
    """An image tower whose features are kept as embeddings.

    Attributes:
        values: number of values of an embedding.
        digest: hash of weights, model config and transform: 16 hexadecimal digits.
        meaning: description of the embeddings, in one line.
    """

    values: int
    digest: str
    meaning: str


class Measure:
    """Base of measures; instances are pickled to the processes that use them.

    Attributes:
        name: `[a-z][a-z0-9_]*`, once in a run.
        columns: the columns that it computes.
        needs: `file` or `pixels` of the picture, `text`, or `features:TOWER`. A measure that needs
            a `file` gets every file; one that needs `pixels` only those that can be decoded.
        version: changes whenever equal settings give other values.
        caption: for `text`, the captions it gets: `txt`, or a key of the sample's `.json`.
        batch_size: number of items that it is asked for at a time, except for a shard's last ones;
            0 for any.
        keeps_embeddings: whether the embeddings of its tower are written, and not only given to
            heads.
    """

    name: str
    columns: Sequence[Column] = ()
    needs: Sequence[str] = ("pixels",)
    version: ClassVar[int] = 1
    caption: str = "txt"
    batch_size: int = 0
    keeps_embeddings: bool = False

    @property
    def tower(self) -> Tower | None:
        """The tower whose embeddings it gives; None for none."""
        return None

    @property
    def source(self) -> str | None:
        """The tower whose features it works on, instead of pictures; None for none."""
        towers = (need for need in self.needs if need.startswith(_FEATURES))
        return next((need.removeprefix(_FEATURES) for need in towers), None)

    @property
    def preparer(self) -> Preparer:
        """The part that decoding processes need."""
        return self

    def to(self, device: str) -> None:
        """Get ready to measure on a device: `cpu` or `cuda`."""

    @property
    def settings(self) -> Any:
        """Its settings, as JSON."""
        return {}

    @property
    def digest(self) -> str:
        """Hash of all that decides its values: 16 hexadecimal digits."""
        return short_digest(self.name, self.version, self.settings)

    def prepare(self, picture: Picture) -> Any:
        """Return the value of a picture, or a tuple with a value for each column.

        Runs in decoding processes, without torch; the result is pickled, so it should be small.
        """
        raise NotImplementedError

    def measure(self, batch: Any) -> Sequence[Any]:
        """Return the values of each column, a value for each item of a batch; None for none.

        Called in the actor with what `prepare` has returned; for `text`, with pairs of that and
        the caption, which is None if there is none. A `tower` adds its embeddings, as the last
        ones. A measure of features gets embeddings, float16, shape (N, D). No value may depend on
        the others.
        """
        return [batch] if len(self.columns) == 1 else list(zip(*batch, strict=True))

    @property
    def record(self) -> MeasureRecord:
        """Describe it for footers and records."""
        return MeasureRecord(
            digest=self.digest,
            columns=tuple(self.columns),
            needs=tuple(self.needs),
            settings=self.settings,
        )


class AttributesMeasure(Measure):
    """Questions to CLIP: `attr_NAME` is the probability of the first prompt of a pair, 0 to 1."""

    name = "attributes"

    def __init__(
        self, attributes: Attributes, fingerprint: str, of: str = "crops", tower: str = MACLIP
    ) -> None:
        """Declare the columns.

        Args:
            attributes: the pairs of prompts.
            fingerprint: of `maclip`, whose features are asked; else the digest of the tower.
            of: the views whose features these are: `crops`, or `embeddings`.
            tower: the tower whose features are asked.
        """
        self.attributes = attributes
        self.needs: Sequence[str] = (features_of(tower),)
        self._features = [of, fingerprint]
        self.columns: Sequence[Column] = [
            Column(
                name=ATTRIBUTE_PREFIX + name,
                type="float32",
                label=name,
                meaning=f"0 to 1: {pairs[0][0]!r} rather than {pairs[0][1]!r}",
                low=0,
                high=1,
            )
            for name, pairs in attributes.items()
        ]

    @property
    def settings(self) -> Any:
        """The pairs of prompts by name."""
        return dict(self.attributes)

    @property
    def digest(self) -> str:
        """Hash of the prompts and of what decides the features."""
        return short_digest(self.name, self.version, self.settings, self._features)


def clip_columns(name: str, model: str, *, is_sigmoid: bool = False) -> Sequence[Column]:
    """Declare the columns of a standard CLIP; `is_sigmoid` for SigLIP's kind of model."""
    what = "the probability that they match" if is_sigmoid else "their cosine"
    return (
        Column(
            name=f"{name}_score",
            type="float32",
            label=f"similarity to the caption, by {model}",
            meaning=f"similarity of picture and caption by {model}, {what}; null without a caption",
            low=0 if is_sigmoid else -1,
            high=1,
        ),
        Column(
            name=f"{name}_text_cut",
            type="bool",
            meaning=f"true if the caption is longer than {model} reads; null without a caption",
        ),
    )


@dataclass(frozen=True, slots=True)
class Recorded:
    """A measure that is known by its record alone, so that no weights have to be loaded."""

    name: str
    record: MeasureRecord

    @property
    def columns(self) -> Sequence[Column]:
        """The columns that it computes."""
        return self.record.columns


def _as_read(settings: Any) -> Any:
    """Return settings as they are once they were written as JSON and read."""
    return json.loads(json.dumps(settings))


class MeasureRecord(BaseModel):
    """A measure, as footers and records describe it. The settings of `maclip` are `config`."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    digest: str
    columns: tuple[RecordedColumn, ...]
    needs: tuple[str, ...]
    settings: Annotated[Any, BeforeValidator(_as_read)] = {}


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Contents of the files of an output, and how they were computed.

    Attributes:
        measures: by name.
        config: settings of `maclip`.
        embeddings: towers whose embeddings are written beside the files.
        sources: towers whose embeddings were used for answers; none if pictures were read.
    """

    measures: Mapping[str, MeasureRecord]
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    embeddings: Sequence[str] = ()
    sources: Sequence[str] = ()

    @property
    def fingerprint(self) -> str:
        """The digest of `maclip`; empty without it."""
        return self.measures[MACLIP].digest if MACLIP in self.measures else ""

    @property
    def digests(self) -> Mapping[str, str]:
        """The digest of each measure."""
        return {name: measure.digest for name, measure in self.measures.items()}

    @property
    def further(self) -> Sequence[Column]:
        """The columns that not every annotation has, in the order of the measures' names."""
        ordered = (self.measures[name] for name in sorted(self.measures))
        every = (column for measure in ordered for column in measure.columns)
        return [column for column in every if not is_known(column)]

    @property
    def columns(self) -> Sequence[Column]:
        """All columns, in order; answers only have `shard` and `index` beside their own."""
        if self.sources:
            return [*named("shard", "index"), *self.further]
        return with_further(self.further)

    @property
    def unmeasured(self) -> Sequence[str]:
        """The columns of every annotation that are null here, for no measure computes them."""
        own = {column.name for measure in self.measures.values() for column in measure.columns}
        return [] if self.sources else sorted(_MEASURED - own)

    def difference(self, other: Contents) -> str | None:
        """Describe in what other contents differ from these; None if they don't."""
        if bool(self.sources) != bool(other.sources):
            there, here = ("of embeddings" if c.sources else "of pictures" for c in (self, other))
            return f"{there}, and these would be {here}"
        if self.fingerprint != other.fingerprint:
            changes = changes_between(self.config, other.config) or "the weights differ"
            return f"with another configuration ({changes})"
        ours, theirs = (each.measures for each in (self, other))
        for name in (*ours, *(name for name in theirs if name not in ours)):
            one, two = ours.get(name), theirs.get(name)
            if (one and one.digest) != (two and two.digest):
                settings = [_settings(name, record) for record in (one, two)]
                changes = changes_between(*settings) or "its version or weights differ"
                return f"with other {name} ({changes})"
        if tuple(self.embeddings) != tuple(other.embeddings):
            there, here = (", ".join(c.embeddings) or "none" for c in (self, other))
            return f"with other embeddings ({there} there, {here} here)"
        return None


def contents_of(
    config: ScoreConfig,
    fingerprint: str,
    attributes: Attributes,
    *,
    embeddings: Sequence[str] = (),
    measures: Sequence[Measure | Recorded] = (),
) -> Contents:
    """Describe annotations whose score has a configuration and a fingerprint.

    Raises:
        ConfigError: if two measures have one name, or columns of one name, or an odd one.
    """
    maclip = MeasureRecord(digest=fingerprint, columns=MACLIP_COLUMNS, needs=(FEATURES,))
    records = {MACLIP: maclip}
    if attributes:
        records["attributes"] = AttributesMeasure(attributes, fingerprint).record
    for measure in measures:
        for name in (measure.name, *(column.name for column in measure.columns)):
            if not _NAME.fullmatch(name):
                raise ConfigError(f"a measure or column can't be called {name!r}: use a-z, 0-9, _")
        if measure.name in records:
            raise ConfigError(f"two measures are called {measure.name}; rename one")
        records[measure.name] = measure.record
    names = Counter(column.name for record in records.values() for column in record.columns)
    names.update(column.name for column in COLUMNS if column.name not in _MEASURED)
    if twice := [name for name, times in names.items() if times > 1]:
        raise ConfigError(f"two measures have a column {twice[0]}; rename one")
    return Contents(
        measures=records,
        config=config.model_dump(mode="json"),
        embeddings=tuple(sorted(embeddings)),
    )


def short_digest(*parts: Any) -> str:
    """Hash JSON values to 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _settings(name: str, record: MeasureRecord | None) -> Mapping[str, Any]:
    settings = record.settings if record else None
    return settings if isinstance(settings, Mapping) and settings else {name: settings}


def changes_between(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Describe the keys whose values differ."""
    keys = [key for key in sorted({*there, *here}) if there.get(key) != here.get(key)]
    return "; ".join(f"{k}: {there.get(k)} there, {here.get(k)} here" for k in keys)[:200]
