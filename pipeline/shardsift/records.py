"""Plain values that pass between the stages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from shardsift.documents import Document
from shardsift.errors import ImageError
from shardsift.reading import TARS, Reading

RgbImage = npt.NDArray[np.uint8]
"""A decoded image: uint8, shape (height, width, 3), sRGB order R, G, B."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFile:
    """The bytes of a sample's image, and their place in the tar.

    `data` is None if the file was not loaded; `size` is in bytes, `offset` counts from the start of
    the tar and is None if there is no tar, or the bytes do not lie in one piece.
    """

    extension: str | None
    data: bytes | None
    offset: int | None
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One picture of a shard, and what lies beside it, as far as that is needed.

    Attributes:
        json: content of its `.json`; None if it has none or that is larger than the reader loads.
        problem: why there is no image to decode.
        reached: bytes of the shard that were read with it; 0 if unknown.
        further: names of some images that share its key, and aren't scored.
        beside: its other files by extension, such as `txt`, if the whole sample was asked for.
    """

    key: str
    index: int
    uid: str | None = None
    image: ImageFile | None = None
    json: bytes | None = None
    problem: ImageError | None = None
    reached: int = 0
    further: Sequence[str] = ()
    beside: Mapping[str, bytes] = field(default_factory=dict[str, bytes])


class PassedOver(StrEnum):
    """Parts of a shard that get no row, or lose their sample. A closed set: readers may rely on it.

    `long_uids` are uids that no row takes: over 1,024 characters, or in a `.json` of over 4 MiB.
    """

    FURTHER_IMAGES = "further_images"
    FURTHER_PAGES = "further_pages"
    HARD_LINKS = "hard_links"
    SPLIT_KEYS = "split_keys"
    LONG_UIDS = "long_uids"
    HIDDEN = "hidden"
    NO_PICTURES = "no_pictures"
    CIRCLES = "circles"
    NO_TEXTS = "no_texts"

    def told(self, number: int) -> str:
        """Describe `number` of them in one line, with what to do."""
        return _TOLD[self].format(number)


EXAMPLES = 3
"""Number of further images that are named."""


def told_of(passed_over: Mapping[str, int], further: Sequence[str] = ()) -> list[str]:
    """Describe counts above 0, a line each; `further` are names of further images."""
    lines = [code.told(passed_over[code]) for code in PassedOver if passed_over.get(code)]
    if further and passed_over.get(PassedOver.FURTHER_IMAGES):
        lines[0] += f"; they are {', '.join(map(repr, further))} and others"
    return lines


_TOLD = {
    PassedOver.FURTHER_IMAGES: "{:,} further images share a key with one that was scored, and were "
    "not scored: a key ends at the first dot of a file's name; pass --key-by stem, or rename the "
    "files so that only their extension follows a dot",
    PassedOver.FURTHER_PAGES: "{:,} pages behind the first of a TIFF were not scored; save each "
    "page as a file",
    PassedOver.HARD_LINKS: "{:,} hard links were passed over, as webdataset does; pack them as "
    "files: tar --hard-dereference",
    PassedOver.SPLIT_KEYS: "the files of {:,} keys don't stand together, so that each key is "
    "several samples, as for webdataset; pack them in order: tar --sort=name -cf SHARD.tar FOLDER",
    PassedOver.LONG_UIDS: "{:,} uids were left out: over 1,024 characters, or in a .json of over "
    "4 MiB",
    PassedOver.HIDDEN: "{:,} hidden files and folders were passed over",
    PassedOver.NO_PICTURES: "{:,} files that are no pictures were passed over",
    PassedOver.NO_TEXTS: "{:,} captions are no text, and count as none; name another field with "
    "--caption",
    PassedOver.CIRCLES: "{:,} links to a folder that contains them were not followed",
}


Embedding = npt.NDArray[np.float16]
"""An image feature before normalisation, shape (D,), or some of them, (N, D)."""


def _no_attributes() -> npt.NDArray[np.float32]:
    return np.empty((0, 0), np.float32)


def _no_embedding() -> Embedding:
    return np.empty(0, np.float16)


CUES = ("quality", "q_sim", "q_mag", "w_sim")
"""Parts of a score."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CropScores:
    """MA-CLIP of each of an image's M crops: float32 arrays of shape (M,), the whole image last.

    `attributes` has shape (A, M): a row for each attribute, in the scorer's order.
    """

    quality: npt.NDArray[np.float32]
    q_sim: npt.NDArray[np.float32]
    q_mag: npt.NDArray[np.float32]
    w_sim: npt.NDArray[np.float32]
    attributes: npt.NDArray[np.float32] = field(default_factory=_no_attributes)


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ImageScore:
    """MA-CLIP of one image: means over its crops, as annotations have them.

    `float(score)` is its quality.

    Attributes:
        per_crop: the score of each crop.
        attribute_names: names of the attributes that were asked for.
        embedding: CLIP's feature of the whole image before normalisation, float16, shape (D,);
            shape (0,) unless it was asked for.
    """

    per_crop: CropScores
    attribute_names: Sequence[str] = ()
    embedding: Embedding = field(default_factory=_no_embedding)

    @property
    def quality(self) -> float:
        """The score: 0 to 1, the higher the better; mean over the crops."""
        return float(self.per_crop.quality.mean())

    @property
    def q_sim(self) -> float:
        """The similarity cue: 0 to 1, mean over the crops."""
        return float(self.per_crop.q_sim.mean())

    @property
    def q_mag(self) -> float:
        """The magnitude cue: mean over the crops."""
        return float(self.per_crop.q_mag.mean())

    @property
    def w_sim(self) -> float:
        """The weight of the similarity cue: 0 to 1, mean over the crops."""
        return float(self.per_crop.w_sim.mean())

    @property
    def attributes(self) -> dict[str, float]:
        """The attributes by name: 0 to 1, means over the crops."""
        means = self.per_crop.attributes.mean(axis=1).tolist() if self.attribute_names else []
        return dict(zip(self.attribute_names, means, strict=True))

    @property
    def crops(self) -> int:
        """The number of crops."""
        return len(self.per_crop.quality)

    def __float__(self) -> float:
        return self.quality

    def __repr__(self) -> str:
        means = ", ".join(f"{cue}={getattr(self, cue):.4f}" for cue in CUES)
        return f"ImageScore({means}, crops={self.crops})"

    def _repr_html_(self) -> str:
        """Show it as a table in a notebook: over the crops."""
        rows = "".join(
            f"<tr><th>{cue}</th><td>{values.mean():.4f}</td><td>{values.min():.4f}</td>"
            f"<td>{values.max():.4f}</td></tr>"
            for cue in CUES
            for values in [getattr(self.per_crop, cue)]
        )
        heading = f"<th>{self.crops} crops</th><th>mean</th><th>lowest</th><th>highest</th>"
        return f"<table><tr>{heading}</tr>{rows}</table>"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFeatures:
    """The features of an image's M views, in crop order, with cues and weights: float32 arrays.

    `features` are CLIP's before normalisation, shape (M, D); all others have shape (M,). The whole
    image is the last view.
    """

    features: npt.NDArray[np.float32]
    quality: npt.NDArray[np.float32]
    q_sim: npt.NDArray[np.float32]
    q_mag: npt.NDArray[np.float32]
    w_sim: npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardIdentity:
    """Identity of a shard when it was read: `version` is its etag, else its modification time."""

    path: str
    size: int
    version: str


def has_changed(now: ShardIdentity, then: ShardIdentity, *, has_moved: bool) -> bool:
    """Return whether a shard has changed; if it has moved, only sizes are compared."""
    return now.size != then.size if has_moved else now != then


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardTask:
    """One shard to score. `shard` is its path below the common root, as annotations name it."""

    url: str
    shard: str
    annotation: str
    reading: Reading = TARS


@dataclass(frozen=True, kw_only=True, slots=True)
class StageSeconds:
    """Seconds in which the threads of a stage worked, and in which they waited for the others."""

    busy: float = 0.0
    waiting: float = 0.0

    def __add__(self, other: StageSeconds) -> StageSeconds:
        return StageSeconds(busy=self.busy + other.busy, waiting=self.waiting + other.waiting)

    @property
    def share(self) -> float:
        """The busy share of its time, 0 to 1; near 1 in the stage that sets the pace."""
        return self.busy / max(self.busy + self.waiting, 1e-9)


@dataclass(frozen=True, slots=True)
class Spread:
    """Sums of some values: enough for their mean and deviation."""

    values: int
    total: float
    squares: float
    lowest: float
    highest: float

    def __add__(self, other: Spread) -> Spread:
        return Spread(
            self.values + other.values,
            self.total + other.total,
            self.squares + other.squares,
            min(self.lowest, other.lowest),
            max(self.highest, other.highest),
        )

    @property
    def mean(self) -> float:
        """The mean."""
        return self.total / self.values

    @property
    def deviation(self) -> float:
        """The population standard deviation."""
        return math.sqrt(max(0.0, self.squares / self.values - self.mean**2))


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ShardReport:
    """Report of one shard that was committed: counts only, no images and no rows.

    `sketch` is the serialised KLL sketch of `quality`, `digest` that of all rows; `spreads` are
    those of further columns; `measures` are digests by name. `bytes` is the size of the shard, 0 if
    the report comes from a manifest. `passed_over` are counts above 0, by `PassedOver`; `further`
    are names of some further images. `seconds` is the wall time of scoring, None if the shard was
    committed by an earlier run. `stages` are `read`, `decode`, `score` and `write`.
    """

    shard: str
    rows: int
    bytes: int = field(default=0, compare=False)
    errors: Mapping[str, int] = field(default_factory=dict[str, int])
    sketch: bytes = b""
    seconds: float | None = None
    stages: Mapping[str, StageSeconds] = field(default_factory=dict[str, StageSeconds], repr=False)
    passed_over: Mapping[str, int] = field(default_factory=dict[str, int])
    digest: str = ""
    spreads: Mapping[str, Spread] = field(default_factory=dict[str, Spread])
    measures: Mapping[str, str] = field(default_factory=dict[str, str])
    further: Sequence[str] = field(default=(), compare=False)

    def __repr__(self) -> str:
        took = "" if self.seconds is None else f", seconds={self.seconds:.1f}"
        return f"ShardReport({self.shard!r}, rows={self.rows}, errors={dict(self.errors)}{took})"


class FailedShard(Document):
    """A shard that was given up after `attempts` attempts; `reason` is that of the last one."""

    shard: str
    url: str
    reason: str
    attempts: int
