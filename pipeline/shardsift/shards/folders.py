"""Folders of pictures to shards, and a shard of them to a stream of samples.

A shard is what a folder itself holds, at most 10,000 files of it: so scores of a folder stay when
another one changes, and a group of rows is a folder. It has no file of its own; its name is
`2024/May/00000.pictures`. Keys are paths below the folder that was named. The first shard of that
folder always exists, and counts what was passed over in folders without pictures.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import count
from mimetypes import MimeTypes
from urllib.parse import quote, unquote

from shardsift.errors import ErrorCode, ImageError, ShardError
from shardsift.records import ImageFile, PassedOver, Sample, ShardIdentity
from shardsift.redaction import reason
from shardsift.shards.beside import merged_files, metadata_rows
from shardsift.shards.samples import (
    BEGINNING_BYTES,
    MAX_IMAGE_BYTES,
    MAX_JSON_BYTES,
    OTHER_IMAGE_EXTENSIONS,
    SUPPORTED_EXTENSIONS,
    count_pages,
    kind_of,
    too_large,
    uid_in,
)
from shardsift.storage.files import (
    OWN_PREFIX,
    PARQUET_SUFFIX,
    PICTURES_SUFFIX,
    SHARD_SUFFIX,
    join,
    open_read,
    read_bytes,
)
from shardsift.storage.finding import (
    Entry,
    folders_below,
    list_folder,
    unchanged_since,
    with_sizes,
)
from shardsift.text import printable
from shardsift.threads import map_ordered

FILES_OF_SHARD = 10_000

_FIRST = f"/{0:05}{PICTURES_SUFFIX}"

_HIDDEN = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"})
_TYPES = MimeTypes(())
"""Python's own list of extensions, without that of the machine."""

_BESIDE = frozenset({"txt", "json", "csv", "jsonl", "parquet"})
"""Captions, fields and tables of pictures."""

_DIGITS = re.compile(r"([0-9]+)")
_THREADS = 8


def picture_shards(root: str) -> tuple[str, ...] | None:
    """Return the locations of the shards of a folder of pictures, in natural order.

    Returns None if it has tars or Parquet files, or no image by its extension. Raises OSError if a
    folder can't be listed, and UserError.
    """
    found = False
    shards: list[str] = []
    top = root.rstrip("/")
    for folder, entries in folders_below(root, _is_hidden, _natural):
        tables = {f"{entry.name}{PARQUET_SUFFIX}" for entry in entries if entry.is_folder}
        tables.add("metadata.parquet")  # as `datasets` and img2dataset write them beside pictures
        for entry in entries:
            is_table = entry.name.endswith(PARQUET_SUFFIX) and entry.name not in tables
            if entry.name.endswith(SHARD_SUFFIX) or is_table:
                return None
            found |= _extension(entry.name) in SUPPORTED_EXTENSIONS and not entry.is_folder
        files = sum(map(_may_be_picture, entries))
        below = _spelled(folder.removeprefix(top))
        numbers = range(max(-(-files // FILES_OF_SHARD), not below))
        shards += [f"{top}{below}/{number:05}{PICTURES_SUFFIX}" for number in numbers]
    return tuple(shards) if found else None


def identify_folder(url: str, shard: str) -> ShardIdentity:
    """Return the size of all files of a shard, and a hash of their names, sizes and versions.

    Raises OSError.
    """
    folder, _ = _folder_of(url, shard)
    listing = _list(folder)
    own = _own(listing, url)
    stems = {_stem(entry.name) for entry in own}
    beside = (
        entry
        for entry in listing.entries
        if _extension(entry.name) in _BESIDE and _stem(entry.name) in stems
    )
    entries = with_sizes(folder, sorted([*own, *beside], key=lambda entry: entry.name))
    told = repr([(entry.name, entry.size, entry.version) for entry in entries])
    version = hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return ShardIdentity(path=shard, size=sum(e.size for e in entries), version=version)


def read_folder(
    url: str,
    shard: str,
    passed_over: Counter[str],
    *,
    whole: bool = False,
    captions: bool = False,
    keys: Collection[str] | None = None,
) -> Iterator[Sample]:
    """Stream the pictures of a shard in natural order, with the uid in a `.json` beside them.

    `whole` samples have `captions` and fields, of any size; of `keys` only these pictures are read,
    and counted from 0.

    Raises:
        ShardError: if the folder can't be listed, or a file of it can't be read for a reason that
            may pass.
    """
    folder, below = _folder_of(url, shard)
    try:
        listing = _list(folder)
        if keys is None:
            _count_passed_over(url, shard, listing, passed_over)
    except OSError as error:
        raise ShardError(shard, f"can't be listed: {reason(error)}") from error
    own = [entry for entry in _own(listing, url) if keys is None or _key(below, entry) in keys]
    own = with_sizes(folder, own)
    captions = captions or whole
    index, reached = count(), 0
    try:
        read = partial(_read, folder, _beside(listing, captions=captions), whole)
        root, names = url.removesuffix(shard), [entry.name for entry in own]
        metadata = metadata_rows(folder, root, names) if captions else {}
        for entry, image, problem, files in map_ordered(read, own, _THREADS):
            reached += entry.size
            if image is None and problem is None:
                passed_over[PassedOver.NO_PICTURES] += 1
                continue
            if image and image.data:
                passed_over[PassedOver.FURTHER_PAGES] += count_pages(image.data)
            beside = merged_files(metadata.get(entry.name, {}), files)
            json = beside.pop("json", None)
            is_long = not whole and len(json or b"") > MAX_JSON_BYTES
            json = None if is_long else json
            if not whole and len(beside.get("txt", b"")) > MAX_JSON_BYTES:
                del beside["txt"]
            uid, is_long_uid = uid_in(json)
            passed_over[PassedOver.LONG_UIDS] += is_long or is_long_uid
            yield Sample(
                key=_key(below, entry),
                index=next(index),
                uid=uid,
                image=image,
                json=json,
                problem=problem,
                reached=reached,
                beside=beside,
            )
    except ValueError as error:
        raise ShardError(shard, str(error)) from error
    except OSError as error:
        raise ShardError(shard, f"can't be read: {reason(error)}", may_pass=True) from error


def _count_passed_over(url: str, shard: str, listing: _Listing, passed_over: Counter[str]) -> None:
    """Count what the first shard of a folder counts, and that of the top for empty folders."""
    if url.endswith(_FIRST):
        passed_over.update(_passed_over(listing.entries))
    if shard == _FIRST[1:]:
        folder, _ = _folder_of(url, shard)
        for other, entries in folders_below(folder, _is_hidden, _natural):
            if other != folder and not any(map(_may_be_picture, entries)):
                passed_over.update(_passed_over(entries))


def _beside(listing: _Listing, *, captions: bool) -> set[str]:
    """Name the files beside pictures to read, unless two pictures share one."""
    wanted = ("json", "txt") if captions else ("json",)
    return {
        entry.name
        for entry in listing.entries
        if _extension(entry.name) in wanted and listing.stems.get(_stem(entry.name)) == 1
    }


def _key(below: str, entry: Entry) -> str:
    return below + printable(entry.name)


def _read(
    folder: str, beside: set[str], whole: bool, entry: Entry
) -> tuple[Entry, ImageFile | None, ImageError | None, dict[str, bytes]]:
    """Read a file, unless its bytes are no picture's, and files beside it. Raises OSError."""
    url = join(folder, entry.name)
    extension = _extension(entry.name)
    is_known = extension in SUPPORTED_EXTENSIONS or extension in OTHER_IMAGE_EXTENSIONS
    data: bytes | None = None
    problem: ImageError | None = None
    try:
        if not is_known:
            with open_read(url) as file:
                told = kind_of(file.read(BEGINNING_BYTES))
            if told is None:
                return entry, None, None, {}
            extension = told
        if extension in OTHER_IMAGE_EXTENSIONS:
            problem = ImageError(ErrorCode.UNSUPPORTED_FORMAT, f".{extension} can't be decoded")
        elif entry.size > MAX_IMAGE_BYTES:
            problem = too_large(entry.size)
        if whole or problem is None:
            data = read_bytes(url)
    except (FileNotFoundError, PermissionError) as error:
        problem = ImageError(ErrorCode.MISSING_IMAGE, f"can't be read: {reason(error)}")
    image = ImageFile(extension=extension, data=data, offset=None, size=entry.size)
    files: dict[str, bytes] = {}
    for extension in ("txt", "json"):
        name = f"{_stem(entry.name)}.{extension}"
        if name in beside:
            most = None if whole else MAX_JSON_BYTES + 1
            with suppress(FileNotFoundError, PermissionError), open_read(join(folder, name)) as f:
                files[extension] = f.read(most)
    return entry, image, problem, files


def _folder_of(url: str, shard: str) -> tuple[str, str]:
    """Return the folder of a shard, and what its keys begin with."""
    root = url.removesuffix(shard).rstrip("/")
    below = unquote(shard.rpartition("/")[0], errors="surrogateescape")
    return (f"{root}/{below}", f"{printable(below)}/") if below else (root or "/", "")


@dataclass(frozen=True, slots=True)
class _Listing:
    """Content of a folder; `pictures` are in natural order, and may turn out to be none."""

    entries: Sequence[Entry]
    pictures: Sequence[Entry]
    stems: Mapping[str, int]


def _list(folder: str) -> _Listing:
    """List a folder, which all of its shards need, once. Raises OSError."""
    changed = unchanged_since(folder)
    return _list_anew(folder, 0) if changed is None else _list_once(folder, changed)


def _list_anew(folder: str, changed: int) -> _Listing:
    entries = list_folder(folder)
    pictures = sorted(filter(_may_be_picture, entries), key=lambda entry: _natural(entry.name))
    return _Listing(entries, pictures, Counter(_stem(entry.name) for entry in pictures))


_list_once = lru_cache(maxsize=2)(_list_anew)


def _own(listing: _Listing, url: str) -> Sequence[Entry]:
    """Return the files of a folder that belong to one of its shards."""
    first = int(url.removesuffix(PICTURES_SUFFIX).rpartition("/")[2]) * FILES_OF_SHARD
    return listing.pictures[first : first + FILES_OF_SHARD]


def _passed_over(listed: Iterable[Entry]) -> Counter[str]:
    """Count what a folder holds besides pictures and the files beside them."""
    found = Counter[str]()
    for entry in listed:
        if _is_hidden(entry.name) or entry.is_circle:
            found[PassedOver.HIDDEN if _is_hidden(entry.name) else PassedOver.CIRCLES] += 1
        elif not entry.is_folder and _extension(entry.name) not in _BESIDE:
            found[PassedOver.NO_PICTURES] += not _may_be_picture(entry)
    return found


def _may_be_picture(entry: Entry) -> bool:
    """Return whether a file is an image by its extension, or might be one by its bytes."""
    extension = _extension(entry.name)
    is_other = entry.is_folder or entry.is_special or extension in _BESIDE
    if is_other or _is_hidden(entry.name):
        return False
    if extension in SUPPORTED_EXTENSIONS or extension in OTHER_IMAGE_EXTENSIONS:
        return True
    kind, packed = _TYPES.guess_type(f"file.{extension}")
    return packed is None and (kind is None or kind.startswith("image/"))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _HIDDEN


def _extension(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name else ""


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def _natural(name: str) -> tuple[list[str | int], str]:
    """Return a key that sorts 9 before 10."""
    parts = _DIGITS.split(name.casefold())
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name


def _spelled(below: str) -> str:
    """Spell a folder as part of a shard's name, whose annotation readers can find."""
    return "/".join(map(_spelled_part, below.split("/")))


def _spelled_part(part: str) -> str:
    plain = "".join(
        sign if sign.isprintable() and sign not in "%=" else quote(sign, errors="surrogateescape")
        for sign in part
    )
    if part.startswith(OWN_PREFIX):
        plain = f"%{ord(OWN_PREFIX):02X}{plain[1:]}"
    return f"{plain[:-8]}%2E{plain[-7:]}" if plain.endswith(".parquet") else plain
