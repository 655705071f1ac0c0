"""A shard's location to a stream of samples.

Keys follow webdataset: up to the first dot after the last slash, extensions in lower case,
neighbouring files of one key make a sample. Unlike webdataset, a shard that ends early, or goes on
behind its end, is an error and not a shorter shard.

The tar is read front to back, once, and only images and `.json` files are loaded: memory is
bounded by one sample, whatever the size of the shard or of the other files in it. A tar may be
gzip'd; its images then have no place of their own in the file.
"""

from __future__ import annotations

import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedReader
from typing import Any, cast

from shardsift.errors import ShardError
from shardsift.records import ImageFile, Sample
from shardsift.shards.tars import Member, read_members
from shardsift.storage.files import open_stream

SUPPORTED_EXTENSIONS = frozenset(
    {"jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff", "avif"}
)
OTHER_IMAGE_EXTENSIONS = frozenset(
    {"heic", "heif", "jp2", "j2k", "jxl", "svg", "psd", "exr", "hdr", "ppm", "pgm", "ico"}
)
"""Images that we can't decode: a sample of these is `unsupported_format`, not `missing_image`."""

MAX_IMAGE_BYTES = 512 << 20
"""Larger image files are not loaded, and their rows say `too_large`."""

_MAX_SPARSE_BYTES = 16 << 20
"""Of a file with holes: a few kilobytes of tar can promise so many that they fill the memory."""

_MAX_JSON_BYTES = 16 << 20
_METADATA_NAME = re.compile(r"__[^/]*__($|/)")


def read_samples(url: str, shard: str | None = None) -> Iterator[Sample]:
    """Stream the samples of a tar, in the order of the tar.

    Raises:
        ShardError: if the tar can't be opened, isn't a tar, is cut short or damaged; samples
            before that place have been yielded already, and it says how many. `shard` is the name
            used in it.
    """
    shard = shard or url
    samples = 0
    try:
        with open_stream(url) as file:
            for sample in _group_by_key(_read_files(file)):
                yield sample
                samples += 1
    except (tarfile.TarError, EOFError, zlib.error) as error:
        problem = f"not a readable tar: {error}; whole samples before that: {samples}"
        raise ShardError(shard, problem) from error
    except (OSError, ValueError, LookupError, OverflowError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        before = f"; whole samples before that: {samples}" if samples else ""
        raise ShardError(shard, f"can't be read: {reason}{before}") from error


def key_and_extension(name: str) -> tuple[str, str] | None:
    """Split a name into key and extension, in lower case; None if it belongs to no sample."""
    dot = name.find(".", name.rfind("/") + 1)
    if dot < 1 or (name.startswith("__") and _METADATA_NAME.match(name)):
        return None
    return name[:dot], name[dot + 1 :].lower()


@dataclass(frozen=True, slots=True)
class _File:
    """A file of the tar; `data` is None if it was not loaded."""

    key: str
    extension: str
    offset: int | None
    size: int
    data: bytes | None


def _read_files(file: BufferedReader) -> Iterator[_File]:
    for member in read_members(file):
        parts = key_and_extension(member.name)
        if parts is not None:
            yield _load(member, *parts)


def _load(member: Member, key: str, extension: str) -> _File:
    wanted = _MAX_JSON_BYTES if extension == "json" else 0
    if _image_kind(extension) in SUPPORTED_EXTENSIONS:
        wanted = _MAX_SPARSE_BYTES if member.is_sparse else MAX_IMAGE_BYTES
    data = member.read() if wanted and member.size <= wanted else None
    return _File(key, extension, member.offset, member.size, data)


@dataclass(slots=True)
class _Group:
    """Neighbouring files of one key; holds the bytes of one image at most."""

    key: str
    index: int
    extensions: set[str] = field(default_factory=set[str])
    image: _File | None = None
    images: int = 0
    json: bytes | None = None

    def takes(self, file: _File) -> bool:
        """Tell whether a file belongs to the sample: by its key, and an extension not seen yet."""
        return file.key == self.key and file.extension not in self.extensions

    def add(self, file: _File) -> None:
        self.extensions.add(file.extension)
        if file.extension == "json":
            self.json = file.data
        if _is_image(file):
            self.images += 1
            if self.image is None or _image_rank(file) < _image_rank(self.image):
                self.image = file

    def sample(self) -> Sample:
        image = self.image and ImageFile(
            extension=self.image.extension,
            data=self.image.data,
            offset=self.image.offset,
            size=self.image.size,
        )
        return Sample(
            key=self.key,
            index=self.index,
            uid=_uid(self.json),
            image=image,
            json=self.json,
            unscored_images=max(0, self.images - 1),
        )


def _group_by_key(files: Iterator[_File]) -> Iterator[Sample]:
    group: _Group | None = None
    for file in files:
        if group is None or not group.takes(file):
            if group is not None:
                yield group.sample()
            group = _Group(file.key, group.index + 1 if group else 0)
        group.add(file)
    if group is not None:
        yield group.sample()


def _image_rank(file: _File) -> tuple[bool, bool]:
    """Rank what can be decoded first, then `.jpg` before `.mask.png`, then tar order."""
    return _image_kind(file.extension) not in SUPPORTED_EXTENSIONS, "." in file.extension


def _is_image(file: _File) -> bool:
    kind = _image_kind(file.extension)
    return kind in SUPPORTED_EXTENSIONS or kind in OTHER_IMAGE_EXTENSIONS


def _image_kind(extension: str) -> str:
    """Tell the kind of an image: `2020.jpg` is a JPEG, as webdataset cuts keys at the first dot."""
    return extension.rpartition(".")[2]


def parse_fields(content: bytes | None) -> dict[str, Any]:
    """Parse the `.json` of a sample; none if it isn't a JSON object."""
    try:
        fields = json.loads(content or b"null")
    except (ValueError, RecursionError):
        return {}
    return cast(dict[str, Any], fields) if isinstance(fields, dict) else {}


def _uid(content: bytes | None) -> str | None:
    """Read `uid`, else `sha256`, of a sample's `.json`; None if it has neither."""
    fields = parse_fields(content)
    uid = fields.get("uid") or fields.get("sha256")
    if not isinstance(uid, str | int) or not uid:
        return None
    return str(uid).encode("utf-8", "backslashreplace").decode()  # JSON can spell half a character
