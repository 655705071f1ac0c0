"""Score images and shards with MA-CLIP, and keep the good ones.

>>> from shardsift import Scorer, ScoreConfig
>>> scorer = Scorer(ScoreConfig(), device="cuda")

Names are imported when they are first used, because torch takes seconds to load.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from shardsift.version import __version__

if TYPE_CHECKING:
    from shardsift.annotations.annotate_shards import annotate_shards
    from shardsift.config import ScoreConfig
    from shardsift.filter.loading import keep
    from shardsift.report.explain import explain
    from shardsift.scoring.scorer import Scorer

__all__ = ["ScoreConfig", "Scorer", "__version__", "annotate_shards", "explain", "keep"]

_HOMES = {
    "ScoreConfig": "shardsift.config",
    "Scorer": "shardsift.scoring.scorer",
    "annotate_shards": "shardsift.annotations.annotate_shards",
    "explain": "shardsift.report.explain",
    "keep": "shardsift.filter.loading",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'shardsift' has no attribute {name!r}")
