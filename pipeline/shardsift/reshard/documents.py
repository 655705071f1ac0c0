"""What the JSON files of `reshard` hold."""

from __future__ import annotations

from shardsift.documents import Document
from shardsift.version import __version__


class ReshardIntent(Document):
    """What is asked for: from equal intents come equal tars.

    `columns` are written into each `.json`. `keep_list` is a digest of what the filter says of
    itself. Sources, keep-list and annotations may move: `root` is the folder of the sources, `keep`
    and `annotations` those of the others.
    """

    samples_per_shard: int | None
    bytes_per_shard: int | None
    columns: tuple[str, ...]
    keep_list: str
    fingerprint: str
    root: str
    keep: str
    annotations: str
    version: str = __version__


class ReshardRecord(ReshardIntent):
    """What `_reshard.json` holds: all tars of the folder come of this.

    `plan` is the SHA-256 of the plan's file, which has so many `shards` and `samples`.
    """

    plan: str
    shards: int
    samples: int


class StatusCounts(Document):
    """How many samples came to which end, in img2dataset's words."""

    success: int


class ShardStats(Document):
    """What `….stats.json` of a tar holds: img2dataset's keys, and ours."""

    count: int
    successes: int
    failed_to_download: int
    failed_to_resize: int
    duration: float
    status_dict: StatusCounts
    bytes: int
    json_made: int
    json_left: int
    split: int


class ReshardSummary(Document):
    """What `_summary.json` holds, DataComp's two keys first."""

    output_shard_count: int
    output_shard_format: str
    shards: int
    samples: int
    bytes: int
    json_made: int
    json_left: int
    split: int
