"""Pictures and tars for tests; equal arguments give equal bytes."""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

File = tuple[str, bytes]
"""Name and content of a file in a tar."""


def picture(width: int = 300, height: int = 260, seed: int = 0) -> Image.Image:
    """Coloured clouds."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(kind: str = "JPEG", width: int = 300, height: int = 260, seed: int = 0) -> bytes:
    """A picture as a file of a format that Pillow names so."""
    return saved(picture(width, height, seed), kind)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """An image as a file of a format that Pillow names so."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG, with its checksum."""
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def tiff_bytes(
    pixels: bytes,
    width: int,
    height: int,
    more: Iterable[tuple[int, int, int]] = (),
    order: str = "<",
    **changes: int,
) -> bytes:
    """A raw grey TIFF, of 8 bits by default; `more` are further tags: number, kind and value."""
    tags = {"bits": 258, "compression": 259, "photometric": 262, "offset": 273, "samples": 277}
    values = {"bits": 8, "compression": 1, "photometric": 1, "offset": 8, "samples": 1} | changes
    entries = [(tags[name], 4, value) for name, value in values.items()]
    entries += [(256, 4, width), (257, 4, height), (278, 4, height), (279, 4, len(pixels)), *more]
    body = b""
    for tag, kind, value in sorted(entries):
        body += struct.pack(f"{order}HHIHxx" if kind == 3 else f"{order}HHII", tag, kind, 1, value)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(pixels))
    return head + pixels + struct.pack(order + "H", len(entries)) + body + bytes(4)


def resized(data: bytes, width: int, height: int) -> bytes:
    """An image file whose header claims another size; its pixels stay as they are."""
    edited = bytearray(data)
    for at, form, value in _size_fields(data, width, height):
        if 0 <= at <= len(data) - struct.calcsize(form):
            struct.pack_into(form, edited, at, value)
    return bytes(edited)


def _size_fields(data: bytes, width: int, height: int) -> list[tuple[int, str, int]]:
    """Where a format keeps width and height, how, and with which value."""
    if data.startswith(b"\x89PNG"):
        return [(16, ">I", width), (20, ">I", height)]
    if data.startswith(b"GIF"):
        return [(6, "<H", width & 0xFFFF), (8, "<H", height & 0xFFFF)]
    if data.startswith(b"BM"):
        return [(18, "<I", width), (22, "<I", height)]
    if data[12:16] == b"VP8X":
        return [(24, "<I", width & 0xFFFFFF), (27, "<H", height & 0xFFFF)]
    if data[12:16] == b"VP8 ":
        return [(26, "<H", width & 0x3FFF), (28, "<H", height & 0x3FFF)]
    if data[4:8] == b"ftyp":
        box = data.find(b"ispe")
        return [(box + 8, ">I", width), (box + 12, ">I", height)]
    if data.startswith(b"\xff\xd8"):
        frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
        return [(frame + 5, ">H", height & 0xFFFF), (frame + 7, ">H", width & 0xFFFF)]
    fields: list[tuple[int, str, int]] = []
    for tag, size in ((256, width), (257, height)):  # of a TIFF, as short or as long numbers
        for kind, form, limit in ((3, "<H", 0xFFFF), (4, "<I", 0xFFFFFFFF)):
            at = data.find(struct.pack("<HHI", tag, kind, 1))
            fields.append((at + 8 if at >= 0 else -1, form, size & limit))
    return fields


def tar_bytes(files: Iterable[File]) -> bytes:
    """A tar as GNU tar and webdataset write it."""
    content = io.BytesIO()
    _write(content, files)
    return content.getvalue()


def write_tar(path: Path, files: Iterable[File]) -> Path:
    """A tar on disk, its folder made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        _write(file, files)
    return path


def _write(file: BinaryIO, files: Iterable[File]) -> None:
    with tarfile.open(fileobj=file, mode="w", errors="surrogateescape") as tar:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def write_shards(folder: Path, shards: int, samples: int) -> Path:
    """A folder of small shards, each picture of a size and colours of its own."""
    for shard in range(shards):
        files = [
            (f"{shard:03}{sample:04}.jpg", encoded(width=230 + sample, seed=shard * 1000 + sample))
            for sample in range(samples)
        ]
        write_tar(folder / f"{shard:05}.tar", files)
    return folder


def as_parquet(tars: Path, folder: Path, rows: int | None = None) -> Path:
    """The pictures of some tars as Parquet files, as `datasets` writes them: a file for each."""
    import datasets

    features = datasets.Features({"image": datasets.Image(), "name": datasets.Value("string")})
    folder.mkdir(parents=True)
    for tar in sorted(tars.glob("*.tar")):
        with tarfile.open(tar) as file:
            pictures = [
                (member.name, file.extractfile(member).read())  # pyright: ignore
                for member in file
                if member.name.endswith(".jpg")
            ]
        table = [{"image": {"bytes": b, "path": name}, "name": name} for name, b in pictures]
        data = datasets.Dataset.from_list(table, features=features)
        data.to_parquet(str(folder / f"{tar.stem}.parquet"), batch_size=rows)
    return folder


def as_pictures(tars: Path, folder: Path) -> Path:
    """The pictures of some tars as files: a folder for each."""
    for tar in sorted(tars.glob("*.tar")):
        with tarfile.open(tar) as file:
            file.extractall(folder / tar.stem, filter="data")
    return folder
