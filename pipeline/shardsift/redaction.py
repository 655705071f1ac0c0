"""Errors, URLs and names as they may be shown: without secrets, and without terminal escapes."""

from __future__ import annotations

import logging
import re
import traceback

_LOGIN = re.compile(
    r"""(?:(?<=://)|(?<![\w/.]))  # after a protocol, or bare, as s3fs names files
    [^\s/:@'"]*:(?!//|\d+/)       # the user; not a port
    [^\s@'"]+@                    # an S3 secret may contain slashes
    | (?<=://)[^\s/:@'"]+@        # a token in place of the user""",
    re.VERBOSE,
)
_QUERY = re.compile(r"\?[\w.~%-]+=[^\s'\"]*(?<![:;,.)])")  # trailing punctuation stays


def redact(text: str) -> str:
    """Remove passwords and tokens of URLs, and the query strings that presigned URLs carry."""
    return _QUERY.sub("?…", _LOGIN.sub("…@", text))


_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0, C1 and DEL, except tab and line feed
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"  # changes of the direction of text
    "\ud800-\udfff]"  # lone surrogates, which can't be encoded
)


def printable(text: str) -> str:
    """Spell out control and invisible characters, as in `\\x1b`."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def shown(text: str) -> str:
    """Make a text fit to be printed or logged."""
    return printable(redact(text))


def clean(record: logging.LogRecord) -> bool:
    """Make a log record fit to be written; a filter of handlers."""
    record.msg, record.args = shown(record.getMessage()), ()
    if record.exc_info:
        record.exc_text = shown("".join(traceback.format_exception(*record.exc_info)))
        record.exc_info = None
    return True


def reason(error: BaseException) -> str:
    """Put a third party's error into one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return redact(" ".join(str(text).split()))


def shown_cause(error: BaseException) -> BaseException | None:
    """Return the error, for `raise … from`, unless its traceback would tell a secret."""
    chain = "".join(traceback.format_exception(error))
    return error if redact(chain) == chain else None
