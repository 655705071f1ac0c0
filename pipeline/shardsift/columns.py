"""The columns of outputs, each declared once: schema, reference, `stats` and pages go by it.

Here are those that every annotation has; a measure declares its own (`measures.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer


class Column(BaseModel):
    """A column of an output.

    Attributes:
        name: in the file.
        type: Arrow's name of the type; `label` is a dictionary of strings, `sha256` 32 bytes.
        meaning: meaning of a value, in one line.
        label: a name for people, on pages; empty if `name` is one.
        low, high: the range of values, as far as it has ends.
        is_required: true if every row has a value.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    name: str
    type: str
    meaning: str
    label: str = ""
    low: float | None = None
    high: float | None = None
    is_required: bool = False

    @property
    def title(self) -> str:
        """The name for people."""
        return self.label or self.name

    @property
    def is_number(self) -> bool:
        """True if values are numbers, of any kind."""
        return self.type.startswith(("float", "int", "uint"))

    @property
    def is_fraction(self) -> bool:
        """True if values are floating-point numbers."""
        return self.type.startswith("float")


COLUMNS = (
    Column(
        name="key",
        type="string",
        meaning="WebDataset `__key__`; of a Parquet file the row's number, or a column; in a "
        "folder the path",
        is_required=True,
    ),
    Column(
        name="shard",
        type="label",
        meaning="the shard's path below the common root of the run's inputs",
        is_required=True,
    ),
    Column(
        name="index",
        type="int32",
        meaning="position of the sample in its shard, from 0",
        low=0,
        is_required=True,
    ),
    Column(name="uid", type="string", meaning="`uid` of the sample's `.json`, else its `sha256`"),
    Column(name="image_ext", type="label", meaning="extension of the scored image, in lower case"),
    Column(
        name="tar_offset",
        type="int64",
        meaning="offset of the image's bytes in the tar; null if the tar is compressed, and for "
        "other shards",
        low=0,
    ),
    Column(
        name="tar_size",
        type="int32",
        meaning="size of the image in bytes; null from 2 GiB on",
        low=0,
    ),
    Column(
        name="width",
        type="int32",
        meaning="width of the decoded image in pixels, after EXIF orientation",
        low=1,
    ),
    Column(name="height", type="int32", meaning="the same", low=1),
    Column(name="crops", type="int16", meaning="number of scored views", low=1),
    Column(
        name="quality",
        type="float32",
        meaning="the MA-CLIP score, mean over the crops; above 0, and may exceed 1",
        low=0,
    ),
    Column(
        name="q_sim",
        type="float32",
        label="q_sim, the similarity cue",
        meaning="similarity to the prompts, 0 to 1, mean over the crops",
        low=0,
        high=1,
    ),
    Column(
        name="q_mag",
        type="float32",
        label="q_mag, the magnitude cue",
        meaning="magnitude of the features, mean over the crops; above 0",
        low=0,
    ),
    Column(
        name="w_sim",
        type="float32",
        meaning="weight of `q_sim` in the fusion, mean over the crops; `q_mag` has the rest of 1",
        low=0,
        high=1,
    ),
    Column(
        name="quality_min",
        type="float32",
        label="quality of the lowest crop",
        meaning="lowest quality of a crop, which shows a single bad corner",
    ),
    Column(
        name="quality_std",
        type="float32",
        label="spread of quality over the crops",
        meaning="population standard deviation of quality over the crops",
        low=0,
    ),
    Column(
        name="sha256", type="sha256", meaning="SHA-256 of the image file, with `--hashes sha256`"
    ),
    Column(
        name="phash",
        type="uint64",
        meaning="perceptual hash of the picture, as `imagehash.phash` computes it, with "
        "`--hashes phash`",
    ),
    Column(
        name="error",
        type="label",
        meaning="null if the image has a score, else one of the codes below",
    ),
    Column(
        name="error_message",
        type="string",
        meaning="one line about the error, at most 200 characters",
    ),
)
"""Columns of every annotation, in order; those of further measures come before `error`."""

_KNOWN = {column.name: column for column in COLUMNS}


def named(*names: str) -> tuple[Column, ...]:
    """Return columns of every annotation by their names."""
    return tuple(_KNOWN[name] for name in names)


def is_known(column: Column) -> bool:
    """Return whether every annotation has a column."""
    return column.name in _KNOWN


def with_further(further: Iterable[Column]) -> Sequence[Column]:
    """Return all columns of annotations that have further ones."""
    return (*COLUMNS[:-2], *further, *COLUMNS[-2:])


def _from_name(value: Any) -> Any:
    return _KNOWN[value] if isinstance(value, str) and value in _KNOWN else value


def _to_name(column: Column) -> Any:
    return column.name if is_known(column) else column.model_dump(exclude_defaults=True)


RecordedColumn = Annotated[Column, BeforeValidator(_from_name), PlainSerializer(_to_name)]
"""A column in JSON: only the name if every annotation has the column."""
