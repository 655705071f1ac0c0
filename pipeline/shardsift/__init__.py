"""Score images and shards with MA-CLIP, and keep the good ones.

>>> import shardsift
>>> scorer = shardsift.Scorer("compact")
>>> scorer("photo.jpg").quality
0.7132
>>> shardsift.score("corpus/*.tar", output="scores", config="laptop")
>>> shardsift.filter("scores", keep_top=0.3, output="kept")
>>> shardsift.reshard("kept", output="clean")

Names are imported when they are first used, because torch takes seconds to load.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from shardsift.errors import (
    AnnotationError,
    ConfigError,
    DeviceError,
    EngineError,
    ErrorCode,
    ImageError,
    InputError,
    ModelError,
    NotHereError,
    OutputError,
    ShardError,
    ShardsiftError,
    StorageError,
    UserError,
    WriteError,
)
from shardsift.version import __version__

if TYPE_CHECKING:
    from shardsift.annotations.annotate_shards import annotate_shards
    from shardsift.columns import Column
    from shardsift.config import ScoreConfig
    from shardsift.filtering.keep_list import keep
    from shardsift.measures import Measure, Picture
    from shardsift.records import ImageScore
    from shardsift.reporting.explanation import explain
    from shardsift.scoring.scorer import Scorer
    from shardsift.scoring.standard_clip import StandardClip
    from shardsift.verbs import (
        ask,
        compact,
        compare,
        export,
        filter,  # noqa: A004
        report,
        reshard,
        score,
        stats,
        verify,
    )

__all__ = [
    "AnnotationError",
    "Column",
    "ConfigError",
    "DeviceError",
    "EngineError",
    "ErrorCode",
    "ImageError",
    "ImageScore",
    "InputError",
    "Measure",
    "ModelError",
    "NotHereError",
    "OutputError",
    "Picture",
    "ScoreConfig",
    "Scorer",
    "ShardError",
    "ShardsiftError",
    "StandardClip",
    "StorageError",
    "UserError",
    "WriteError",
    "__version__",
    "annotate_shards",
    "ask",
    "compact",
    "compare",
    "explain",
    "export",
    "filter",
    "keep",
    "report",
    "reshard",
    "score",
    "stats",
    "verify",
]

_HOMES = {
    "Column": "shardsift.columns",
    "ImageScore": "shardsift.records",
    "Measure": "shardsift.measures",
    "Picture": "shardsift.measures",
    "ScoreConfig": "shardsift.config",
    "Scorer": "shardsift.scoring.scorer",
    "StandardClip": "shardsift.scoring.standard_clip",
    "annotate_shards": "shardsift.annotations.annotate_shards",
    "explain": "shardsift.reporting.explanation",
    "keep": "shardsift.filtering.keep_list",
    **dict.fromkeys(
        (
            *("ask", "compact", "compare", "export", "filter", "report", "reshard", "score"),
            *("stats", "verify"),
        ),
        "shardsift.verbs",
    ),
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'shardsift' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
