"""Kinds of shards, and what makes samples of them; light, because settings are made of it."""

from __future__ import annotations

from typing import Literal

from shardsift.documents import Document

KeyBy = Literal["dot", "stem"]
"""End of keys in a tar: the first dot of a file's name, as in webdataset, or the last."""


class Reading(Document):
    """The kind of a run's shards, and what makes samples of them.

    Attributes:
        kind: `tar`, `parquet`, or `pictures` for a folder of them.
        image: the column of a Parquet file that has the pictures; None to find it.
        key: the column that has the keys; None for the numbers of rows.
        key_by: where keys of a tar end: at the first `dot`, or at the last, `stem`.
    """

    kind: Literal["tar", "parquet", "pictures"] = "tar"
    image: str | None = None
    key: str | None = None
    key_by: KeyBy = "dot"


TARS = Reading()
"""Tars as webdataset reads them."""
