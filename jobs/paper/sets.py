"""A few lines for each set: from the folder as it is downloaded to images with opinions.

    koniq10k   koniq10k_scores_and_distributions.csv, 1024x768/ (else 512x384/)
    spaq       Annotations/MOS and Image attribute scores.xlsx, TestImage/
    livec      Data/AllImages_release.mat, Data/AllMOS_release.mat, Images/
    kadid10k   dmos.csv (higher is better, whatever its name), images/
    tid2013    mos_with_names.txt, distorted_images/
    csiq       csiq.DMOS.xlsx, dst_imgs/<distortion>/  (DMOS: higher is worse)
    agiqa1k    AIGC_MOS_Zscore.xlsx, the images anywhere below
    agiqa3k    data.csv, the images anywhere below
    pipal      Train_Label/*.txt, for the paper also Val…Label/*.txt, the images anywhere below
    flive      database/labels_image.csv, database/<collection>/
    ava        AVA.txt, tags.txt if it is there, the images anywhere below

Files are found by name anywhere below the folder, because archives unpack into different depths.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import openpyxl
from scipy import io as scipy_io
from webdataset.writer import TarWriter

from shardsift.errors import InputError
from shardsift.evaluation.opinions import ONLY_PROTOCOL
from shardsift.storage.files import committing, join

_TRAINING_IMAGES = 7
"""The first images of LIVE in the Wild, which trained its subjects; only the paper takes them."""

_PAPER_ONLY = {ONLY_PROTOCOL: "paper"}

_CSIQ_NAMES = {"noise": "awgn", "jpeg 2000": "jpeg2000"}
"""Distortions that the table calls otherwise than the files' names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Opinion:
    """An image file, the mean opinion of it, and further fields for the `.json`.

    `path` is None if the download lacks the image, as of sets whose images were withdrawn.
    """

    name: str
    path: Path | None
    mos: float
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class IqaSet:
    """A set: how to read it, and whether its opinions are DMOS."""

    read: Callable[[Path], Iterator[Opinion]]
    higher_is_worse: bool = False


def koniq10k(folder: Path) -> Iterator[Opinion]:
    """Read KonIQ-10k: 10,073 photographs, MOS 1 to 5."""
    images = _index(folder, "1024x768") or _index(folder, "512x384") or _index(folder)
    for row in _csv(folder, "koniq10k_scores_and_distributions.csv"):
        yield _rated(images, row["image_name"], row["MOS"])


def spaq(folder: Path) -> Iterator[Opinion]:
    """Read SPAQ: 11,125 smartphone photographs, MOS 0 to 100."""
    images = _index(folder, "TestImage")
    for row in _xlsx(_file(folder, "MOS and Image attribute scores.xlsx"), "Image name"):
        yield _rated(images, str(row["Image name"]), row["MOS"])


def livec(folder: Path) -> Iterator[Opinion]:
    """Read LIVE in the Wild Challenge: 1,162 photographs, MOS 0 to 100.

    And the seven that trained its subjects, as far as they are there, for the paper's protocol.
    """
    images = _index(folder, "Images")
    names, opinions = (
        scipy_io.loadmat(_file(folder, f"{name}.mat"), squeeze_me=True)[name]
        for name in ("AllImages_release", "AllMOS_release")
    )
    pairs = list(zip(names.tolist(), opinions.tolist(), strict=True))
    for place, (name, mos) in enumerate(pairs):
        if place >= _TRAINING_IMAGES:
            yield _rated(images, str(name), mos)
        elif str(name).lower() in images:
            yield _rated(images, str(name), mos, **_PAPER_ONLY)


def kadid10k(folder: Path) -> Iterator[Opinion]:
    """Read KADID-10k: 10,125 distorted images, DMOS 1 to 5 that rises with quality."""
    images = _index(folder, "images")
    for row in _csv(folder, "dmos.csv"):
        name = row["dist_img"]
        fields = {"reference": row["ref_img"], "distortion": name.split("_")[1]}
        yield _rated(images, name, row["dmos"], **fields)


def tid2013(folder: Path) -> Iterator[Opinion]:
    """Read TID2013: 3,000 distorted images, MOS 0 to 9."""
    images = _index(folder, "distorted_images")
    for line in _file(folder, "mos_with_names.txt").read_text().splitlines():
        if line.strip():
            mos, name = line.split()
            reference, distortion, _ = name.split("_")
            yield _rated(images, name, mos, reference=reference.upper(), distortion=distortion)


def csiq(folder: Path) -> Iterator[Opinion]:
    """Read CSIQ: 866 distorted images, DMOS 0 to 1: higher is worse."""
    images = _index(folder, "dst_imgs")
    for row in _xlsx(_file(folder, "csiq.DMOS.xlsx"), "image", sheet="all_by_image"):
        kind = str(row["dst_type"]).lower()
        kind = _CSIQ_NAMES.get(kind, kind)
        name = f"{row['image']}.{kind}.{int(row['dst_lev'])}.png"
        yield _rated(images, name, row["dmos"], reference=str(row["image"]), distortion=kind)


def agiqa1k(folder: Path) -> Iterator[Opinion]:
    """Read AGIQA-1K: 1,080 generated pictures, MOS 0 to 5."""
    images = _index(folder)
    for row in _xlsx(_file(folder, "AIGC_MOS_Zscore.xlsx"), "Image"):
        name = str(row["Image"])
        fields = {"generator": name.split("_")[0], "prompt": str(row["Prompt"])}
        yield _rated(images, name, row["MOS"], **fields)


def agiqa3k(folder: Path) -> Iterator[Opinion]:
    """Read AGIQA-3K: 2,982 generated pictures, MOS 0 to 5."""
    images = _index(folder)
    for row in _csv(folder, "data.csv"):
        fields = {"generator": row["name"].split("_")[0], "style": row.get("style") or ""}
        yield _rated(images, row["name"], row["mos_quality"], **fields)


def pipal(folder: Path) -> Iterator[Opinion]:
    """Read PIPAL's training part: 23,200 restored images, Elo ratings around 1,500.

    And the 1,000 of its validation part, if their ratings are there, for the paper's protocol.
    """
    images = _index(folder)
    for part, further in (("*[Tt]rain*[Ll]abel*", {}), ("*[Vv]al*[Ll]abel*", _PAPER_ONLY)):
        for labels in _below(folder, f"{part}/*.txt"):
            for line in labels.read_text().splitlines():
                if line.strip():
                    name, rating = line.split(",")
                    reference, distortion, _ = name.split("_")
                    fields = {"reference": reference, "distortion": distortion, **further}
                    yield _rated(images, name, rating, **fields)


def flive(folder: Path) -> Iterator[Opinion]:
    """Read FLIVE (PaQ-2-PiQ): 39,810 photographs, MOS 0 to 100."""
    labels = _file(folder, "labels_image.csv")
    for row in _csv(folder, labels.name):
        name = row.get("name_image") or row["name"]
        mos = row.get("mos_image") or row["mos"]
        path = _existing(labels.parent / name)
        yield Opinion(
            name=path.name,
            path=path,
            mos=float(mos),
            fields={"collection": name.split("/")[0]},
        )


def ava(folder: Path) -> Iterator[Opinion]:
    """Read AVA: 255,530 photographs, the mean of aesthetic votes from 1 to 10.

    Some of its images were withdrawn, and no download has them.
    """
    list_file = _file(folder, "AVA.txt")
    images = _index(folder)
    if not any(name.endswith(".jpg") for name in images):
        raise InputError(f"{folder}: there is no .jpg below it; name the unpacked download")
    tags = _ava_tags(list_file.with_name("tags.txt"))
    marks_10 = np.arange(1, 11)
    for line in list_file.read_text().splitlines():
        if line.strip():
            _, image, *numbers = line.split()
            votes_10 = np.array(numbers[:10], np.int64)
            tag, _, challenge = numbers[10:13]
            mean = float(np.average(marks_10, weights=votes_10))
            deviation = float(np.average((marks_10 - mean) ** 2, weights=votes_10)) ** 0.5
            yield Opinion(
                name=f"{image}.jpg",
                path=images.get(f"{image}.jpg"),
                mos=mean,
                fields={
                    "mos_std": deviation,
                    "votes": votes_10.tolist(),
                    "tag": tags.get(tag, tag),
                    "challenge": challenge,
                },
            )


def _ava_tags(file: Path) -> dict[str, str]:
    """Read the names of AVA's semantic tags, by number; none if the file isn't there."""
    lines = file.read_text().splitlines() if file.is_file() else []
    return dict(line.split(maxsplit=1) for line in lines if line.strip())


IQA_SETS: dict[str, IqaSet] = {
    "koniq10k": IqaSet(koniq10k),
    "spaq": IqaSet(spaq),
    "livec": IqaSet(livec),
    "kadid10k": IqaSet(kadid10k),
    "tid2013": IqaSet(tid2013),
    "csiq": IqaSet(csiq, higher_is_worse=True),
    "agiqa1k": IqaSet(agiqa1k),
    "agiqa3k": IqaSet(agiqa3k),
    "pipal": IqaSet(pipal),
    "flive": IqaSet(flive),
    "ava": IqaSet(ava),
}
"""By the names that `--iqa-set` and the published figures have."""


def read_set(name: str, folder: Path) -> Iterator[Opinion]:
    """Read the set of this name. Raises InputError if the folder isn't its download."""
    try:
        yield from IQA_SETS[name].read(folder)
    except (KeyError, ValueError, TypeError, IndexError, ZeroDivisionError) as error:
        reason = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"{folder}: its list of opinions isn't as that of {name} is: {reason}"
        ) from error


def _file(folder: Path, name: str) -> Path:
    found = next(_below(folder, name), None)
    if found is None:
        raise InputError(f"{folder}: there is no {name} below it; name the unpacked download")
    return found


def _below(folder: Path, name: str) -> Iterator[Path]:
    """Find files and folders of this name, in order, but not what belongs to no download.

    That is `__MACOSX`, which zip files of a Mac leave, hidden files, and thumbnails.
    """
    for path in sorted(folder.rglob(name)):
        parts = path.relative_to(folder).parts
        if not any(part.startswith((".", "__MACOSX")) or "thumb" in part.lower() for part in parts):
            yield path


def _csv(folder: Path, name: str) -> Iterator[dict[str, str]]:
    with _file(folder, name).open(newline="", encoding="utf-8-sig") as file:
        yield from csv.DictReader(file)


def _xlsx(file: Path, key: str, sheet: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table that have a value in the column `key`, by column."""
    book = cast(Any, openpyxl).load_workbook(file, read_only=True, data_only=True)
    rows = (book[sheet] if sheet else book.worksheets[0]).iter_rows(values_only=True)
    head: dict[str, int] = {}
    for row in rows:
        if not head:
            # tables begin below a title, and beside empty columns
            names = {str(cell): place for place, cell in enumerate(row) if cell is not None}
            head = names if len(names) > 1 else {}
            continue
        cells = {name: row[place] if place < len(row) else None for name, place in head.items()}
        if cells[key] is not None:
            yield cells


def _index(folder: Path, below: str | None = None) -> dict[str, Path]:
    """Index files by their name in lower case: lists and files differ in case.

    Of several of one name the largest counts: the others are smaller copies.
    """
    starts = [folder] if below is None else [p for p in _below(folder, below) if p.is_dir()]
    found: dict[str, Path] = {}
    for path in (path for start in starts for path in _below(start, "*") if path.is_file()):
        other = found.setdefault(path.name.lower(), path)
        if other.stat().st_size < path.stat().st_size:
            found[path.name.lower()] = path
    return found


def _rated(images: Mapping[str, Path], name: str, mos: object, **fields: Any) -> Opinion:
    path = _find(images, name)
    try:
        opinion = float(cast(Any, mos))
    except (TypeError, ValueError) as error:
        told = "none" if mos in (None, "") else repr(mos)
        raise ValueError(f"the opinion of {name} has to be a number, and is {told}") from error
    return Opinion(name=path.name, path=path, mos=opinion, fields=fields)


def _find(images: Mapping[str, Path], name: str) -> Path:
    found = images.get(name.lower())
    if found is None:
        raise InputError(f"{name} is in the list of opinions, but there is no such image")
    return found


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path} is in the list of opinions, but there is no such image")
    return path


# --- shards of them -----------------------------------------------------------------------------


class WrittenSet(NamedTuple):
    """Counts of a written set: samples, shards, and samples without an image."""

    samples: int
    shards: int
    without_image: int


def write_shards(
    opinions: Iterable[Opinion], output: str, name: str, samples_per_shard: int = 1000
) -> WrittenSet:
    """Write `NAME-00000.tar` and so on while reading.

    A sample is the unchanged image, if the download has it, and a `.json` with `name`, `mos` and
    other known fields. Equal images give equal tars. Raises InputError if there is no sample.
    """
    remaining = iter(opinions)
    samples = shards = without_image = 0
    while part := list(islice(remaining, samples_per_shard)):
        # webdataset's default modification time is now, which would make equal tars differ
        with (
            committing(join(output, f"{name}-{shards:05}.tar")) as file,
            TarWriter(file, mtime=0) as tar,
        ):
            for place, opinion in enumerate(part):
                tar.write({"__key__": f"{samples + place:06}"} | _files(opinion))
        samples, shards = samples + len(part), shards + 1
        without_image += sum(opinion.path is None for opinion in part)
    if not samples:
        raise InputError(f"{name}: the folder's list of opinions is empty")
    return WrittenSet(samples, shards, without_image)


def _files(opinion: Opinion) -> dict[str, bytes]:
    """Return the files of a sample, by extension."""
    fields = {"name": opinion.name, "mos": opinion.mos, **opinion.fields}
    files = {"json": json.dumps(fields, ensure_ascii=False).encode()}
    if opinion.path is not None:
        files[opinion.path.suffix.lower().lstrip(".")] = opinion.path.read_bytes()
    return files
