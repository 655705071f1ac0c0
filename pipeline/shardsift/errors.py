"""Everything Shardsift raises on purpose.

    ShardsiftError
    ├── UserError                a mistake of the user; the command line exits with 2
    │   ├── ConfigError          an unknown key, a value out of range, a malformed file
    │   ├── InputError           no shards found, two shards with one annotation name
    │   ├── OutputError          an output in the input, another run's output, not writable
    │   │   └── WriteError       a file that can't be written: a full disk; also an OSError
    │   ├── StorageError         a place that can't be reached; also an OSError
    │   ├── ModelError           weights or a model config that can't be had
    │   │   └── NotHereError     those that a hub has, or should have
    │   ├── DeviceError          a GPU that can't score
    │   └── EngineError          actors that can't start
    ├── ShardError               a shard that can't be read to its end; costs an attempt
    ├── AnnotationError          an annotation file that isn't one of ours
    └── ImageError               one image; becomes a row with its `code`, never leaves a shard

Third-party errors are translated in the module that owns the third party.
"""

from __future__ import annotations

from enum import StrEnum

from shardsift.redaction import redact


class ErrorCode(StrEnum):
    """Why a sample has no score. A closed set: readers may rely on it."""

    MISSING_IMAGE = "missing_image"
    UNSUPPORTED_FORMAT = "unsupported_format"
    DECODE_ERROR = "decode_error"
    TRUNCATED = "truncated"
    TOO_LARGE = "too_large"
    TOO_SLOW = "too_slow"
    NON_FINITE = "non_finite"

    @property
    def meaning(self) -> str:
        """Description of the error, as the end of a sentence "the image …"."""
        return _MEANINGS[self]


_MEANINGS = {
    ErrorCode.MISSING_IMAGE: "is missing: the sample has none",
    ErrorCode.UNSUPPORTED_FORMAT: (
        "is not a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF; or its pixels are 32-bit, float or "
        "Lab, or have a layout that may be read wrongly"
    ),
    ErrorCode.DECODE_ERROR: "is damaged",
    ErrorCode.TRUNCATED: (
        "ends early, or is empty; also a truncated JPEG with an end marker, which other "
        "decoders fill with grey"
    ),
    ErrorCode.TOO_LARGE: "has more pixels than `max_pixels`, by its header; it is not decoded",
    ErrorCode.TOO_SLOW: (
        "takes more processor time for decoding than `picture_timeout`, or is a JPEG with too "
        "many scans"
    ),
    ErrorCode.NON_FINITE: "made the encoder return values that are not finite",
}


class ShardsiftError(Exception):
    """Base of all errors raised on purpose; messages contain no secrets of URLs."""

    def __init__(self, message: str) -> None:
        super().__init__(redact(message))


class UserError(ShardsiftError):
    """A mistake of the user: one line with the next step, exit code 2."""


class ConfigError(UserError):
    """A configuration that can't be used."""


class InputError(UserError):
    """Shards that can't be found or are ambiguous."""


class OutputError(UserError):
    """An output location that can't or mustn't be written."""


class StorageError(UserError, OSError):
    """A location that can't be reached; also an OSError, as callers of other libraries expect."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}")
        self.strerror: str | None = problem


class WriteError(OutputError, OSError):
    """A file that can't be written; an OSError too, for that is what writing raises."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(
            f"{place}: can't be written: {problem}; run the same command again once that is fixed"
        )
        self.strerror: str | None = problem


class ModelError(UserError):
    """A model config or weights that can't be loaded."""


class NotHereError(ModelError):
    """A model that a hub has, or should have, and that isn't on this machine."""


class DeviceError(UserError):
    """A GPU that can't score, or can't be trusted."""


class EngineError(UserError):
    """Actors that can't start, or give nothing of use: the run stops with the reason."""


class ShardError(ShardsiftError):
    """A shard that can't be read to its end.

    `may_pass` says that the cause lies elsewhere, such as a full disk: another try has to wait.
    """

    def __init__(self, shard: str, problem: str, may_pass: bool = False) -> None:
        super().__init__(f"{shard}: {problem}")
        self.shard = shard
        self.problem: str = redact(problem)
        self.may_pass = may_pass

    def __reduce__(self) -> tuple[type[ShardError], tuple[str, str, bool]]:
        # Ray pickles it
        return type(self), (self.shard, self.problem, self.may_pass)


class AnnotationError(ShardsiftError):
    """A file that is not a Shardsift annotation, or a damaged one."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))  # some of Arrow's messages have two lines


class ImageError(ShardsiftError):
    """An image that can't be scored, with the code its row will carry."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[ImageError], tuple[ErrorCode, str]]:
        return type(self), (self.code, str(self))  # pickled on its way out of a decoder process
