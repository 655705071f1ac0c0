"""Typed settings: what people write in YAML or type as flags, checked when it is read.

base.py              base classes and field types
loading.py           settings from a file, the environment and flags
mistakes.py          messages about mistakes in them
score_settings.py    all that changes a score
measure_settings.py  attributes, hashes, CLIPs, embeddings
run_settings.py      a run on Ray
filter_settings.py   the samples to keep
verb_settings.py     all other verbs
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
from shardsift.config.loading import bundled_configs, load_config
from shardsift.config.measure_settings import (
    ATTRIBUTE_PREFIX,
    Attributes,
    AttributesConfig,
    ClipConfig,
    HashName,
    PromptPairs,
    attribute_columns,
    checked_attributes,
)
from shardsift.config.mistakes import VARIABLE, did_you_mean, spelled
from shardsift.config.run_settings import PICTURE_SECONDS, RayConfig, RunConfig
from shardsift.config.score_settings import (
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
    "ClipConfig",
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
    "attribute_columns",
    "bundled_configs",
    "checked_attributes",
    "did_you_mean",
    "fields_by_key",
    "load_config",
    "spelled",
]
