"""A tar to a stream of samples.

Keys follow webdataset: up to the first dot after the last slash, extensions in lower case,
neighbouring files of one key make a sample. Unlike in webdataset, a shard that is truncated, or has
data after its end, is an error and not a shorter shard.

The tar is read front to back, once, and only images and `.json` files are loaded, unless captions
or whole samples are asked for: memory is bounded by one sample and about 100 bytes for each key,
whatever the size of other files. A tar may be compressed by gzip; its images then have no place in
the file.
"""

from __future__ import annotations

import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from io import BufferedReader

from shardsift.errors import ErrorCode, ImageError, ShardError
from shardsift.reading import KeyBy
from shardsift.records import ImageFile, PassedOver, Sample
from shardsift.shards.samples import (
    MAX_IMAGE_BYTES,
    MAX_JSON_BYTES,
    OTHER_IMAGE_EXTENSIONS,
    SUPPORTED_EXTENSIONS,
    count_pages,
    too_large,
    uid_in,
)
from shardsift.shards.tars import Member, read_members
from shardsift.storage.files import open_stream

_MAX_SPARSE_BYTES = 16 << 20
"""Largest sparse file in bytes: a few kilobytes of tar can claim enough to fill the memory."""

_MAX_NAME_CHARACTERS = 4096
"""Linux has no longer paths; a gzip'd tar of a megabyte could promise a gigabyte of names."""

MAX_FILE_BYTES = 1 << 30
"""Largest file of a whole sample in bytes: a gzip'd tar of a megabyte can promise a gigabyte."""

_LOADED = frozenset({"json"})
_WITH_CAPTIONS = frozenset({"json", "txt"})
"""Extensions of the small files that are loaded."""

_METADATA_NAME = re.compile(r"__[^/]*__($|/)")


def read_tar(
    url: str,
    shard: str | None = None,
    passed_over: Counter[str] | None = None,
    key_by: KeyBy = "dot",
    *,
    whole: bool = False,
    captions: bool = False,
) -> Iterator[Sample]:
    """Stream the samples of a tar in its order; count images without a row.

    `whole` samples have all files; with `captions`, samples have their `.txt`.

    Raises:
        ShardError: if the tar can't be opened, isn't a tar, or is truncated or damaged. Samples
            before that place have been yielded already; the message has their number, and calls the
            tar `shard`.
    """
    shard = shard or url
    samples = 0
    counts = Counter[str]() if passed_over is None else passed_over
    try:
        with open_stream(url) as file:
            wanted = _WITH_CAPTIONS if captions else _LOADED
            files = _read_files(file, counts, key_by, None if whole else wanted)
            for sample in _group_by_key(files, counts, whole):
                yield sample
                samples += 1
    except (tarfile.TarError, EOFError, zlib.error) as error:
        problem = f"not a readable tar: {error}; whole samples before that: {samples}"
        raise ShardError(shard, problem) from error
    except (OSError, ValueError, LookupError, OverflowError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        before = f"; whole samples before that: {samples}" if samples else ""
        raise ShardError(shard, f"can't be read: {reason}{before}") from error


def key_and_extension(name: str, key_by: KeyBy = "dot") -> tuple[str, str] | None:
    """Split a name into key and extension, in lower case; None if it belongs to no sample.

    As webdataset's `base_plus_ext`: if the last part begins with a dot, the folder before it takes
    its place in the key, but only if that has no dot.
    """
    dot = name.find(".", name.rfind("/") + 1)
    if key_by == "stem" and dot >= 0:
        dot = name.rfind(".")
    if dot < 1 or (name.startswith("__") and _METADATA_NAME.match(name)):
        return None
    if key_by == "stem":
        return name[:dot], name[dot + 1 :].lower()
    folders_end = dot - 1 if (line := name.find("\n")) < 0 else min(dot - 1, line)
    if "." in name[name.rfind("/", 0, folders_end) + 1 : dot]:
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


def _read_files(
    file: BufferedReader, passed_over: Counter[str], key_by: KeyBy, wanted: Set[str] | None
) -> Iterator[_File]:
    """Load images, and small files with `wanted` extensions; all files if it is None."""
    for member in read_members(file, passed_over):
        if len(member.name) > _MAX_NAME_CHARACTERS:
            raise ValueError(f"a file's name of {len(member.name):,} characters")
        parts = key_and_extension(member.name, key_by)
        if parts is not None:
            yield _load(member, *parts, wanted)


def _load(member: Member, key: str, extension: str, wanted: Set[str] | None) -> _File:
    if wanted is None:
        most = MAX_FILE_BYTES
        if member.size > most:
            raise ValueError(f"{member.name} has over {most >> 20:,} MiB")
    elif _image_kind(extension) in SUPPORTED_EXTENSIONS:
        most = _MAX_SPARSE_BYTES if member.is_sparse else MAX_IMAGE_BYTES
    else:
        most = MAX_JSON_BYTES if extension in wanted else -1
    data = member.read() if member.size <= most else None
    return _File(key, extension, member.offset, member.size, data)


@dataclass(slots=True)
class _Group:
    """Neighbouring files of one key; holds the bytes of one image at most, unless it is `whole`."""

    key: str
    index: int
    whole: bool
    extensions: set[str] = field(default_factory=set[str])
    image: _File | None = None
    images: list[str] = field(default_factory=list[str])
    has_json: bool = False
    json: bytes | None = None
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def takes(self, file: _File) -> bool:
        """Return whether a file belongs to the sample: it has its key and a new extension."""
        return file.key == self.key and file.extension not in self.extensions

    def add(self, file: _File) -> None:
        self.extensions.add(file.extension)
        if file.extension == "json":
            self.has_json, self.json = True, file.data
        kind = _image_kind(file.extension)
        is_image = kind in SUPPORTED_EXTENSIONS or kind in OTHER_IMAGE_EXTENSIONS
        if file.data is not None and (self.whole or not is_image):
            self.files[file.extension] = file.data
        if is_image:
            self.images.append(file.extension)
            if self.image is None or _image_rank(file) < _image_rank(self.image):
                self.image = file

    def sample(self, passed_over: Counter[str]) -> Sample:
        uid, is_long = uid_in(self.json)
        passed_over[PassedOver.LONG_UIDS] += is_long or (self.has_json and self.json is None)
        passed_over[PassedOver.FURTHER_IMAGES] += max(0, len(self.images) - 1)
        file = self.image
        further = [f"{self.key}.{name}" for name in self.images if file and name != file.extension]
        if file and file.data:
            passed_over[PassedOver.FURTHER_PAGES] += count_pages(file.data)
        image = file and ImageFile(
            extension=file.extension, data=file.data, offset=file.offset, size=file.size
        )
        return Sample(
            key=self.key,
            index=self.index,
            uid=uid,
            image=image,
            json=self.json,
            problem=_problem(file),
            reached=file.offset + file.size if file and file.offset is not None else 0,
            further=further,
            beside={
                name: data
                for name, data in self.files.items()
                if name != "json" and not (file and name == file.extension)
            },
        )


def _problem(file: _File | None) -> ImageError | None:
    """Return why there is no image to decode."""
    if file is None:
        return ImageError(ErrorCode.MISSING_IMAGE, "none of the sample's files is an image")
    if file.data is not None:
        return None
    if _image_kind(file.extension) in SUPPORTED_EXTENSIONS:
        return too_large(file.size)
    return ImageError(ErrorCode.UNSUPPORTED_FORMAT, f".{file.extension} can't be decoded")


def _group_by_key(
    files: Iterator[_File], passed_over: Counter[str], whole: bool
) -> Iterator[Sample]:
    group: _Group | None = None
    keys = _Keys()
    for file in files:
        if group is None or not group.takes(file):
            if group is not None:
                keys.add(group)
                yield group.sample(passed_over)
            group = _Group(file.key, group.index + 1 if group else 0, whole)
        group.add(file)
    if group is not None:
        keys.add(group)
        yield group.sample(passed_over)
    passed_over[PassedOver.SPLIT_KEYS] += len(keys.split)


class _Keys:
    """Hashes of a shard's keys, and those of which two samples share no extension.

    Such samples are parts of one whose files don't stand together, and no repeated key.
    """

    def __init__(self) -> None:
        self.split: set[int] = set()
        self._extensions: dict[int, frozenset[str]] = {}
        self._known: dict[frozenset[str], frozenset[str]] = {}  # equal sets share one object

    def add(self, group: _Group) -> None:
        key = hash(group.key)
        before = self._extensions.get(key, frozenset[str]())
        if before and before.isdisjoint(group.extensions):
            self.split.add(key)
        extensions = before.union(group.extensions)
        self._extensions[key] = self._known.setdefault(extensions, extensions)


def _image_rank(file: _File) -> tuple[bool, bool]:
    """Rank what can be decoded first, then `.jpg` before `.mask.png`, then tar order."""
    return _image_kind(file.extension) not in SUPPORTED_EXTENSIONS, "." in file.extension


def _image_kind(extension: str) -> str:
    """Return the extension of an image: `jpg` for `2020.jpg`; keys end at the first dot."""
    return extension.rpartition(".")[2]
