"""Errors and URLs as they may be shown: one line, without what opens a store."""

from __future__ import annotations

import re
import traceback

_LOGIN = re.compile(
    r"""(?:(?<=://)|(?<![\w/.]))  # behind a protocol, or bare, as s3fs names a file
    [^\s/:@'"]*:(?!//|\d+/)       # the user; a port is none
    [^\s@'"]+@                    # the secret of an S3 key may hold slashes
    | (?<=://)[^\s/:@'"]+@        # a token in the user's place""",
    re.VERBOSE,
)
_QUERY = re.compile(r"\?[\w.~%-]+=[^\s'\"]*(?<![:;,.)])")  # what stands behind it stays


def redact(text: str) -> str:
    """Remove passwords and tokens of URLs, and the query strings that presigned URLs carry."""
    return _QUERY.sub("?…", _LOGIN.sub("…@", text))


def reason(error: BaseException) -> str:
    """Put a third party's error into one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return redact(" ".join(str(text).split()))


def shown_cause(error: BaseException) -> BaseException | None:
    """Return the error, for `raise … from`, unless its traceback would tell a secret."""
    chain = "".join(traceback.format_exception(error))
    return error if redact(chain) == chain else None
