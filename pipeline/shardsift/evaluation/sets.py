"""A few lines for each set: from the folder as it is downloaded to images with opinions.

    koniq10k   koniq10k_scores_and_distributions.csv, 1024x768/ (else 512x384/)
    spaq       Annotations/MOS and Image attribute scores.xlsx, TestImage/
    livec      Data/AllImages_release.mat, Data/AllMOS_release.mat, Images/
    kadid10k   dmos.csv (higher is better, whatever its name), images/
    tid2013    mos_with_names.txt, distorted_images/
    csiq       csiq.DMOS.xlsx, dst_imgs/<distortion>/  (DMOS: higher is worse)
    agiqa3k    data.csv, the images anywhere below
    pipal      Train_Label/*.txt, the images anywhere below
    flive      database/labels_image.csv, database/<collection>/

Files are found by name anywhere below the folder, because archives unpack into different depths.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from scipy import io as scipy_io

from shardsift.errors import ConfigError, InputError

_TRAINING_IMAGES = 7
"""The first images of LIVE in the Wild were shown to subjects as training, and have no opinion."""

_CSIQ_NAMES = {"noise": "awgn", "jpeg 2000": "jpeg2000"}
"""Distortions that the table calls otherwise than the files' names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Opinion:
    """An image file, the mean opinion of it, and further fields for the `.json`."""

    path: Path
    mos: float
    fields: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class IqaSet:
    """A set: how to read it, and whether its opinions are DMOS."""

    read: Callable[[Path], Iterator[Opinion]]
    higher_is_worse: bool = False


def koniq10k(folder: Path) -> Iterator[Opinion]:
    """Read KonIQ-10k: 10,073 photographs, MOS 1 to 5."""
    images = _index(folder, "1024x768") or _index(folder, "512x384") or _index(folder)
    for row in _csv(folder, "koniq10k_scores_and_distributions.csv"):
        yield Opinion(path=_find(images, row["image_name"]), mos=float(row["MOS"]))


def spaq(folder: Path) -> Iterator[Opinion]:
    """Read SPAQ: 11,125 smartphone photographs, MOS 0 to 100."""
    images = _index(folder, "TestImage")
    for row in _xlsx(_file(folder, "MOS and Image attribute scores.xlsx")):
        yield Opinion(path=_find(images, str(row["Image name"])), mos=float(row["MOS"]))


def livec(folder: Path) -> Iterator[Opinion]:
    """Read LIVE in the Wild Challenge: 1,162 photographs, MOS 0 to 100."""
    images = _index(folder, "Images")
    names, opinions = (
        scipy_io.loadmat(_file(folder, f"{name}.mat"), squeeze_me=True)[name]
        for name in ("AllImages_release", "AllMOS_release")
    )
    pairs = list(zip(names.tolist(), opinions.tolist(), strict=True))
    for name, mos in pairs[_TRAINING_IMAGES:]:
        yield Opinion(path=_find(images, str(name)), mos=float(mos))


def kadid10k(folder: Path) -> Iterator[Opinion]:
    """Read KADID-10k: 10,125 distorted images, DMOS 1 to 5 that rises with quality."""
    images = _index(folder, "images")
    for row in _csv(folder, "dmos.csv"):
        name = row["dist_img"]
        fields = {"reference": row["ref_img"], "distortion": name.split("_")[1]}
        yield Opinion(path=_find(images, name), mos=float(row["dmos"]), fields=fields)


def tid2013(folder: Path) -> Iterator[Opinion]:
    """Read TID2013: 3,000 distorted images, MOS 0 to 9."""
    images = _index(folder, "distorted_images")
    for line in _file(folder, "mos_with_names.txt").read_text().splitlines():
        if line.strip():
            mos, name = line.split()
            reference, distortion, _ = name.split("_")
            fields = {"reference": reference.upper(), "distortion": distortion}
            yield Opinion(path=_find(images, name), mos=float(mos), fields=fields)


def csiq(folder: Path) -> Iterator[Opinion]:
    """Read CSIQ: 866 distorted images, DMOS 0 to 1: higher is worse."""
    images = _index(folder, "dst_imgs")
    for row in _xlsx(_file(folder, "csiq.DMOS.xlsx"), sheet="all_by_image"):
        kind = str(row["dst_type"]).lower()
        kind = _CSIQ_NAMES.get(kind, kind)
        name = f"{row['image']}.{kind}.{int(row['dst_lev'])}.png"
        fields = {"reference": str(row["image"]), "distortion": kind}
        yield Opinion(path=_find(images, name), mos=float(row["dmos"]), fields=fields)


def agiqa3k(folder: Path) -> Iterator[Opinion]:
    """Read AGIQA-3K: 2,982 generated pictures, MOS 0 to 5."""
    images = _index(folder)
    for row in _csv(folder, "data.csv"):
        fields = {"generator": row["name"].split("_")[0], "style": row.get("style") or ""}
        yield Opinion(path=_find(images, row["name"]), mos=float(row["mos_quality"]), fields=fields)


def pipal(folder: Path) -> Iterator[Opinion]:
    """Read PIPAL's training part: 23,200 restored images, Elo ratings around 1,500."""
    images = _index(folder)
    for labels in sorted(folder.rglob("Train_Label/*.txt")):
        for line in labels.read_text().splitlines():
            if line.strip():
                name, rating = line.split(",")
                fields = {"reference": name.split("_")[0], "distortion": name.split("_")[1]}
                yield Opinion(path=_find(images, name), mos=float(rating), fields=fields)


def flive(folder: Path) -> Iterator[Opinion]:
    """Read FLIVE (PaQ-2-PiQ): 39,810 photographs, MOS 0 to 100."""
    labels = _file(folder, "labels_image.csv")
    for row in _csv(folder, labels.name):
        name = row.get("name_image") or row["name"]
        mos = row.get("mos_image") or row["mos"]
        yield Opinion(
            path=_existing(labels.parent / name),
            mos=float(mos),
            fields={"collection": name.split("/")[0]},
        )


IQA_SETS: dict[str, IqaSet] = {
    "koniq10k": IqaSet(koniq10k),
    "spaq": IqaSet(spaq),
    "livec": IqaSet(livec),
    "kadid10k": IqaSet(kadid10k),
    "tid2013": IqaSet(tid2013),
    "csiq": IqaSet(csiq, higher_is_worse=True),
    "agiqa3k": IqaSet(agiqa3k),
    "pipal": IqaSet(pipal),
    "flive": IqaSet(flive),
}
"""By the names that `--iqa-set` and the published figures have."""


def _file(folder: Path, name: str) -> Path:
    found = next(iter(sorted(folder.rglob(name))), None)
    if found is None:
        raise InputError(f"{folder}: there is no {name} below it; name the unpacked download")
    return found


def _csv(folder: Path, name: str) -> Iterator[dict[str, str]]:
    with _file(folder, name).open(newline="", encoding="utf-8-sig") as file:
        yield from csv.DictReader(file)


def _xlsx(file: Path, sheet: str | None = None) -> Iterator[dict[str, Any]]:
    try:
        import openpyxl
    except ImportError as error:
        raise ConfigError(
            f"{file.name} needs openpyxl: pip install 'shardsift[evaluate]'"
        ) from error
    book = cast(Any, openpyxl).load_workbook(file, read_only=True, data_only=True)
    rows = (book[sheet] if sheet else book.worksheets[0]).iter_rows(values_only=True)
    head: list[str] = []
    for row in rows:
        cells = [value for value in row if value is not None]
        if not head:
            # tables begin below a title, and beside empty columns
            names = [str(value) for value in cells]
            head = names if len(names) > 1 else []
        elif len(cells) >= len(head):
            yield dict(zip(head, cells, strict=False))


def _index(folder: Path, below: str | None = None) -> dict[str, Path]:
    """Index files by their name in lower case: lists and files differ in case."""
    start = folder if below is None else next(iter(sorted(folder.rglob(below))), None)
    if start is None:
        return {}
    return {path.name.lower(): path for path in sorted(start.rglob("*")) if path.is_file()}


def _find(images: Mapping[str, Path], name: str) -> Path:
    found = images.get(name.lower())
    if found is None:
        raise InputError(f"{name} is in the list of opinions, but there is no such image")
    return found


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path} is in the list of opinions, but there is no such image")
    return path
