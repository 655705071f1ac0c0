"""Our own JSON files: each is a pydantic model with a digest, which shows later changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, ClassVar, Self, cast

from pydantic import BaseModel, ConfigDict, ValidationError

DIGEST = "digest"
"""The key, last in a file, whose value is the SHA-256 of the file as it would be without it."""


class DocumentError(ValueError):
    """A file is not a valid document; the message is the reason in one line."""


class Document(BaseModel):
    """Base of what our own JSON files hold."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", strict=True)

    def encode(self) -> bytes:
        """Encode it; equal documents give equal bytes."""
        return _sealed(self.model_dump(mode="json"))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a file. It may lack a digest, as other programs don't write one, and fields that
        have a default, as earlier versions didn't.

        Raises:
            DocumentError: if it is no such document, or was changed since it was written.
        """
        try:
            content = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise DocumentError(f"not JSON: {' '.join(str(error).split())}") from error
        if not isinstance(content, dict):
            raise DocumentError("not a JSON object")
        content = cast(dict[str, Any], content)
        told = content.pop(DIGEST, None)
        try:
            document = cls.model_validate_json(json.dumps(content))
        except ValidationError as error:
            raise DocumentError(first_problem(error)) from error
        if told is not None and _sealed(content) != data:
            raise DocumentError("was changed since it was written")
        return document


def _sealed(content: Mapping[str, Any]) -> bytes:
    digest = hashlib.sha256(as_json(content)).hexdigest()
    return as_json({**content, DIGEST: digest})


def as_json(content: Any) -> bytes:
    """Encode JSON for people and programs to read."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def first_problem(error: ValidationError) -> str:
    """Put the first of pydantic's problems into one line: `rows: Input should be …`."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else str(first["msg"])
