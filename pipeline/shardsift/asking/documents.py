"""What the JSON files of `ask` hold."""

from __future__ import annotations

from shardsift.config import PromptPairs
from shardsift.documents import Document
from shardsift.version import __version__


class AskRecord(Document):
    """What `_ask.json` holds: all answers of the folder are to these questions.

    `manifest` is the SHA-256 of the annotations' manifest, so that they are known to be the same;
    `fingerprint` is theirs. They may move: `annotations` is where they lay.
    """

    attributes: dict[str, PromptPairs]
    fingerprint: str
    manifest: str
    annotations: str
    version: str = __version__


class AskSummary(Document):
    """What `_summary.json` holds: `answered` are rows with an embedding."""

    shards: int
    rows: int
    answered: int
    means: dict[str, float]
