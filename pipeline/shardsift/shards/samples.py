"""Parts of samples that all readers share: kinds of images, their limits, uids."""

from __future__ import annotations

import json
from contextlib import suppress
from io import BytesIO
from typing import Any, cast

from PIL import Image

from shardsift.errors import ErrorCode, ImageError

SUPPORTED_EXTENSIONS = frozenset(
    {"jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff", "avif"}
)
OTHER_IMAGE_EXTENSIONS = frozenset(
    {"heic", "heif", "jp2", "j2k", "jxl", "svg", "psd", "exr", "hdr", "ppm", "pgm", "ico"}
)
"""Images that we can't decode: a sample of these is `unsupported_format`, not `missing_image`."""

MAX_IMAGE_BYTES = 512 << 20
"""Larger image files are not loaded, and their rows say `too_large`."""

MAX_JSON_BYTES = 4 << 20
_MAX_UID_CHARACTERS = 1024

_SUBFILE, _IS_NO_PAGE = 254, 1 | 4
"""Tag of a TIFF's kind of directory, and its bits for a smaller copy and a mask."""

_MOST_PAGES = 10_000

_BEGINNINGS = {
    b"\xff\xd8\xff": "jpg",
    b"\x89PNG\r\n\x1a\n": "png",
    b"GIF8": "gif",
    b"BM": "bmp",
    b"II*\0": "tif",
    b"MM\0*": "tif",
}

BEGINNING_BYTES = 16
"""Bytes of a file that tell its kind."""


def kind_of(beginning: bytes) -> str | None:
    """Return the extension that an image's first bytes call for; None if it is none we know."""
    if beginning[:4] == b"RIFF" and beginning[8:12] == b"WEBP":
        return "webp"
    if beginning[4:8] == b"ftyp" and beginning[8:12] in (b"avif", b"avis"):
        return "avif"
    return next((kind for sign, kind in _BEGINNINGS.items() if beginning.startswith(sign)), None)


def too_large(size: int) -> ImageError:
    """Make the error of an image file that is too large to be loaded."""
    return ImageError(ErrorCode.TOO_LARGE, f"a file of {size} bytes is not loaded")


def count_pages(image: bytes) -> int:
    """Count the pages of a TIFF behind the first; smaller copies and masks are none."""
    if not image.startswith((b"II", b"MM")):
        return 0
    pages = 0
    with suppress(Exception), Image.open(BytesIO(image), formats=("TIFF",)) as tiff:
        for number in range(1, _MOST_PAGES):
            tiff.seek(number)  # raises after the last page, and at a damaged one
            tags: Any = getattr(tiff, "tag_v2", {})
            pages += not tags.get(_SUBFILE, 0) & _IS_NO_PAGE
    return pages


def parse_fields(content: bytes | None) -> dict[str, Any]:
    """Parse the `.json` of a sample; none if it isn't a JSON object."""
    try:
        fields = json.loads(content or b"null")
    except (ValueError, RecursionError):
        return {}
    return cast(dict[str, Any], fields) if isinstance(fields, dict) else {}


def uid_in(content: bytes | None) -> tuple[str | None, bool]:
    """Read the uid in a sample's `.json`, see `uid_of`."""
    fields = parse_fields(content)
    return uid_of(fields.get("uid"), fields.get("sha256"))


def uid_of(*values: object) -> tuple[str | None, bool]:
    """Return the first value that is a uid, None if none is; and whether it was too long."""
    for uid in values:
        if isinstance(uid, str | int) and not isinstance(uid, bool) and uid != "":
            # JSON can contain lone surrogates
            text = str(uid).encode("utf-8", "backslashreplace").decode()
            return (None, True) if len(text) > _MAX_UID_CHARACTERS else (text, False)
    return None, False
