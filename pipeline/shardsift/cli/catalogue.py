"""The verbs: what each may be asked for, and what it does. Light: `--help` reads it."""

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
    ReportConfig,
    ReshardConfig,
    StatsConfig,
    VerifyConfig,
)


@dataclass(frozen=True)
class Verb:
    """A command: its settings, and a line about it.

    `run(config, console)` of its module in `cli/verbs` does it, and returns the exit code.
    `resumes` says that the same command goes on with what was stopped.
    """

    config: type[Config]
    summary: str
    resumes: bool = False


VERBS = {
    "score": Verb(
        RunConfig,
        "Score all images of the shards; a Parquet file of annotations for each.",
        resumes=True,
    ),
    "verify": Verb(
        VerifyConfig,
        "Prove that an output is complete and consistent: no gaps, no damage, nothing twice.",
    ),
    "report": Verb(
        ReportConfig,
        "Write one HTML page of a run: distributions, pictures, and what a threshold would keep.",
    ),
    "compare": Verb(
        CompareConfig,
        "Tell how far the scores of two runs differ, and how much of what they keep is the same.",
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
        "Write the clean corpus: new tars of the kept samples, byte for byte and in order.",
        resumes=True,
    ),
    "compact": Verb(
        CompactConfig,
        "Put many small annotation files into few large ones, which are read as before.",
    ),
    "explain": Verb(ExplainConfig, "Show the cues of single images, and where they are bad."),
    "evaluate": Verb(
        EvaluateConfig, "Compare scores with opinions: SRCC, KRCC, PLCC and RMSE, with intervals."
    ),
    "config": Verb(
        ConfigConfig, "Show a config that comes along, or all settings of a verb, to begin with."
    ),
    "doctor": Verb(
        DoctorConfig, "Look at what a run needs: GPUs, Ray, weights, places, and speeds."
    ),
    "demo": Verb(
        DemoConfig, "Go the whole way, offline: make sample shards, score them, show what came out."
    ),
}


def known_keys() -> set[str]:
    """Return the names of the settings of all verbs."""
    return set[str]().union(*(fields_by_key(verb.config) for verb in VERBS.values()))
