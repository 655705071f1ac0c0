"""The verbs, with their settings and a line of help. Imports little, because `--help` reads it."""

from __future__ import annotations

from dataclasses import dataclass

from shardsift.config import Config, RunConfig, fields_by_key
from shardsift.config.filter_settings import FilterConfig
from shardsift.config.verb_settings import (
    AskConfig,
    CompactConfig,
    CompareConfig,
    ConfigConfig,
    DemoConfig,
    DoctorConfig,
    EvaluateConfig,
    ExplainConfig,
    ExportConfig,
    ReportConfig,
    ReshardConfig,
    StatsConfig,
    VerifyConfig,
)


@dataclass(frozen=True)
class Verb:
    """A command: its settings, and a line about it.

    `run(config, console)` of its module in `cli/verbs` runs it, and returns the exit code.
    `resumes` is true if the same command resumes an interrupted one.
    """

    config: type[Config]
    summary: str
    resumes: bool = False


VERBS = {
    "score": Verb(
        RunConfig,
        "Score all images of the shards, and write a Parquet file of annotations for each shard.",
        resumes=True,
    ),
    "verify": Verb(
        VerifyConfig,
        "Check that an output is complete, undamaged and consistent.",
    ),
    "report": Verb(
        ReportConfig,
        "Write an HTML page of a run: distributions, pictures, and the effect of a threshold.",
    ),
    "compare": Verb(
        CompareConfig,
        "Compare the scores of two runs, and the samples that each would keep.",
    ),
    "stats": Verb(StatsConfig, "Print counts, quantiles and errors of a run, from its metadata."),
    "filter": Verb(
        FilterConfig, "Keep the best samples: an exact share, a number, or all above a threshold."
    ),
    "ask": Verb(
        AskConfig,
        "Ask new questions of a corpus with embeddings: no image is read or encoded.",
        resumes=True,
    ),
    "reshard": Verb(
        ReshardConfig,
        "Write the clean corpus: new shards of the kept samples, byte for byte and in order.",
        resumes=True,
    ),
    "compact": Verb(
        CompactConfig,
        "Merge many small annotation files into few large ones, which are read in the same way.",
    ),
    "export": Verb(
        ExportConfig,
        "Write scores where metadata is kept: columns of Parquet files, CSV, JSON lines or Lance.",
    ),
    "explain": Verb(ExplainConfig, "Print the scores of single images, and draw heat maps."),
    "evaluate": Verb(
        EvaluateConfig,
        "Compare scores with people's ratings: SRCC, KRCC, PLCC and RMSE, with intervals.",
    ),
    "config": Verb(
        ConfigConfig,
        "Print an included config, or all settings of a verb, as a start for your own.",
    ),
    "doctor": Verb(
        DoctorConfig,
        "Check GPUs, Ray, weights, shards and folders before a run, and measure speeds.",
    ),
    "demo": Verb(
        DemoConfig, "Try everything offline: make sample shards, score them, and print the results."
    ),
}


def known_keys() -> set[str]:
    """Return the names of the settings of all verbs."""
    return set[str]().union(*(fields_by_key(verb.config) for verb in VERBS.values()))
