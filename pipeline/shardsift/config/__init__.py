"""Typed settings: what people write in YAML or type as flags, checked when it is read.

base.py     what all of them have in common
files.py    from a file and flags
mistakes.py what is wrong with them, for people
score.py    what decides a score
measures.py what is computed beside it
run.py      a run on Ray
filter.py   which samples to keep
verbs.py    all other verbs
"""

from shardsift.config.base import (
    CommaSeparated,
    Config,
    Given,
    OneOrMore,
    Share,
    TableConfig,
    fields_by_key,
)
from shardsift.config.files import bundled_configs, load_config
from shardsift.config.measures import (
    ATTRIBUTE_PREFIX,
    Attributes,
    AttributesConfig,
    HashName,
    PromptPairs,
    Tower,
    attribute_columns,
    checked_attributes,
)
from shardsift.config.mistakes import VARIABLE, did_you_mean, spelled
from shardsift.config.run import PICTURE_SECONDS, RayConfig, RunConfig
from shardsift.config.score import (
    PAPER_PROMPT_PAIRS,
    PILLOW_BOMB_ERROR_PIXELS,
    AnyDtype,
    CropPlan,
    Dtype,
    ModelConfig,
    ScoreConfig,
)

__all__ = [
    "ATTRIBUTE_PREFIX",
    "PAPER_PROMPT_PAIRS",
    "PICTURE_SECONDS",
    "PILLOW_BOMB_ERROR_PIXELS",
    "VARIABLE",
    "AnyDtype",
    "Attributes",
    "AttributesConfig",
    "CommaSeparated",
    "Config",
    "CropPlan",
    "Dtype",
    "Given",
    "HashName",
    "ModelConfig",
    "OneOrMore",
    "PromptPairs",
    "RayConfig",
    "RunConfig",
    "ScoreConfig",
    "Share",
    "TableConfig",
    "Tower",
    "attribute_columns",
    "bundled_configs",
    "checked_attributes",
    "did_you_mean",
    "fields_by_key",
    "load_config",
    "spelled",
]
