"""Shardsift's library: score images and shards with MA-CLIP. No Ray, no terminal.

>>> from pipeline import Scorer, ScoreConfig
>>> scorer = Scorer(ScoreConfig(), device="cuda")

`Scorer` is imported when it is first used, because torch takes seconds to load.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.config import ScoreConfig
    from pipeline.scoring.scorer import Scorer

__all__ = ["ScoreConfig", "Scorer"]

_HOMES = {"ScoreConfig": "pipeline.config", "Scorer": "pipeline.scoring.scorer"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
