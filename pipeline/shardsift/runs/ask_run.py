"""An ask run: new questions to embeddings, every shard that has no answers yet, on Ray."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from shardsift.annotations.answers import AskInputs, answer_shard
from shardsift.columns import Column
from shardsift.config import Attributes, ClipConfig, ScoreConfig
from shardsift.config.heads import HeadSpec
from shardsift.config.verb_settings import AskConfig
from shardsift.engine.coordinator import Outcome
from shardsift.engine.run_loop import RunResult
from shardsift.engine.run_progress import RunCounts
from shardsift.errors import ConfigError, InputError
from shardsift.measures import MACLIP, AttributesMeasure, Contents, Measure, Tower
from shardsift.outputs.json_records import RunRecord, RunSummary, recorded_config
from shardsift.outputs.manifest import ManifestWriter
from shardsift.outputs.output_folder import (
    AnnotationSet,
    OutputFolder,
    TaskList,
    complete,
    find_scores,
    is_answer_of,
    read_annotation_set,
)
from shardsift.outputs.run_folder import check_apart, check_output
from shardsift.outputs.sealed_table import AnnotationFiles
from shardsift.progress import Display
from shardsift.records import ShardReport, ShardTask
from shardsift.runs.on_cpus import CpuSpec, run_on_cpus
from shardsift.runs.score_run import find_committed
from shardsift.scoring.weights import standard_config
from shardsift.text import count
from shardsift.threads import Track, no_track

if TYPE_CHECKING:  # mistakes are reported before torch is loaded
    from shardsift.scoring.questions import Questions

LoadQuestions = Callable[[ScoreConfig, Attributes], "Questions"]
"""Encodes the questions with the model of a run, which takes seconds. Raises ModelError."""


def load_questions(config: ScoreConfig, attributes: Attributes) -> Questions:
    """Load the model's text tower, and encode the questions."""
    from shardsift.scoring import questions  # imports torch

    return questions.load_questions(config, attributes)


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A run that passed its checks; `reopened` are names of answers that will be replaced."""

    config: AskConfig
    folder: OutputFolder
    annotations: AnnotationFiles
    plan: TaskList
    measures: Sequence[Measure]
    contents: Contents
    reopened: frozenset[str]

    @property
    def open_tasks(self) -> list[ShardTask]:
        """The shards that have no answers yet."""
        return [task for task in self.plan if task.annotation not in self.folder.committed]

    @property
    def inputs(self) -> AskInputs:
        """Inputs of the actors."""
        return AskInputs(
            annotations=self.annotations,
            measures=self.measures,
            contents=self.contents,
            output=self.folder.url,
            lease=self.folder.lease,
        )

    def begin(self) -> None:
        """Delete files to replace, and write the record, before the first answer."""
        self.folder.begin(self.plan, self.contents, annotations=self.plan.inputs[0])

    def finish(self, manifest: ManifestWriter, seconds: float, actors: int) -> RunSummary:
        """Sum up all shards. Raises as `complete` does."""
        return complete(
            self.folder,
            self.plan,
            manifest,
            contents=self.contents,
            actors=actors,
            seconds=seconds,
        )


def prepare(
    config: AskConfig, track: Track = no_track, load: LoadQuestions = load_questions
) -> Ask:
    """Check that annotations have embeddings, and the output can be written; load the model.

    Changes nothing on disk, except for a probe that it removes.

    Raises:
        UserError: with one line that says what to do.
        AnnotationError: if an annotation is damaged.
    """
    attributes, heads = config.asked(), config.heads()
    if not attributes and not heads:
        raise ConfigError("no question; pass --attribute or --head")
    if config.output is None:
        raise ConfigError("no --output; name a folder or URL for the answers")
    source = find_scores(config.annotations)
    if source.is_compacted:
        raise InputError(
            f"{source.url}: holds compacted annotations, without embeddings; name the folder "
            "that was compacted"
        )
    if source.record is None:
        raise InputError(f"{source.url}: no _run.json here; name the output of a `score` run")
    scored = source.record
    tower = config.attribute_of
    if attributes and tower not in scored.embeddings:
        raise InputError(
            f"{source.url}: has no embeddings of {tower}; score with --embeddings {tower}, or "
            "pass --attribute to `score`"
        )
    check_apart(config.output, source.url)
    check_output(config.output, ())
    found = read_annotation_set(source, track=track)
    measures: list[Measure] = _load_heads(heads, found) if heads else []
    if attributes:
        asked = AttributesMeasure(attributes, _digest_of(scored, tower), "embeddings", tower)
        measures.append(asked)
    contents = Contents(
        measures={measure.name: measure.record for measure in measures},
        sources=tuple(sorted({measure.source or MACLIP for measure in measures})),
    )
    folder = OutputFolder(config.output)
    folder.claim(contents, overwrite=config.overwrite)
    plan = found.tasks
    committed = frozenset(folder.committed)
    annotated = {shard.name: shard for shard in found.shards}
    folder.reopen(plan, lambda task, footer: not is_answer_of(footer, annotated[task.annotation]))
    is_done = all(shard.name in folder.committed for shard in found.shards)
    return Ask(
        config=config,
        folder=folder,
        annotations=source.annotations,
        plan=plan,
        measures=[] if is_done else _ready(measures, config, scored, load),
        contents=contents,
        reopened=committed - folder.committed,
    )


def _load_heads(heads: Sequence[HeadSpec], found: AnnotationSet) -> list[Measure]:
    """Load heads for the towers whose embeddings are there. Raises ModelError or InputError."""
    from shardsift.scoring.heads import load_heads  # imports torch

    footer = found.folder.annotations.footer(found.shards[0].name)
    towers = {
        name: (Tower(values=own.values, digest=own.tower, meaning=own.meaning), record.settings)
        for name, own in footer.embeddings.items()
        for record in [footer.contents.measures[name]]
    }
    return [*load_heads(heads, towers)]


def _digest_of(scored: RunRecord, tower: str) -> str:
    return scored.fingerprint if tower == MACLIP else scored.measures[tower].settings["tower"]


def _ready(
    measures: Sequence[Measure], config: AskConfig, scored: RunRecord, load: LoadQuestions
) -> list[Measure]:
    """Put questions that can be asked in the place of their descriptions."""
    return [
        _read_questions(config, scored, load) if isinstance(each, AttributesMeasure) else each
        for each in measures
    ]


def _read_questions(config: AskConfig, scored: RunRecord, load: LoadQuestions) -> Questions:
    """Encode the questions with the model of a run. Raises ConfigError if it is another model."""
    moved = {"model": config.model, "pretrained": config.pretrained}
    tower = config.attribute_of
    if tower == MACLIP:
        questions = load(recorded_config(scored, **moved), config.asked())
    else:
        from shardsift.scoring.clip import load_clip  # imports torch
        from shardsift.scoring.questions import questions_of

        settings = scored.measures[tower].settings
        given = {name: value for name, value in moved.items() if value is not None}
        told = {name: settings.get(name) for name in moved} | given
        clip = standard_config(ClipConfig.model_validate(told), "float32")
        questions = questions_of(load_clip(clip, is_standard=True), config.asked(), tower)
    there = _digest_of(scored, tower)
    if questions.fingerprint != there:
        raise ConfigError(
            f"these are not the weights that made {config.annotations} (fingerprint "
            f"{questions.fingerprint} here, {there} there); pass those to --pretrained, and a "
            "model config that has moved to --model"
        )
    return questions


@dataclass
class AskCounts(RunCounts):
    """Counts of a run that asks."""

    noun: ClassVar[str] = "rows"

    def add(self, outcome: Outcome) -> None:
        """Count a shard and its rows."""
        super().add(outcome)
        if isinstance(outcome, ShardReport):
            self.count(items=outcome.rows, work=outcome.rows)


def asking(inputs: AskInputs, cpus: float) -> CpuSpec:
    """Describe an actor that asks."""
    return CpuSpec(
        do=partial(answer_shard, inputs), cpus=cpus, get_ready=partial(_compute_on, cpus)
    )


def _compute_on(cpus: float) -> None:
    from shardsift.scoring.devices import use_cores  # imports torch

    use_cores(cpus)


@dataclass(kw_only=True)
class AskResult(RunResult[AskCounts]):
    """Result of `ask`.

    Attributes:
        url: the folder of the answers.
        columns: the columns of the answers.
        summary: content of `_summary.json`; None if the run was stopped, or had nothing to do.
    """

    url: str
    columns: Sequence[Column] = ()
    summary: RunSummary | None = None


def ask(config: AskConfig, display: Display) -> AskResult:
    """Answer the questions for all shards that have no answers yet.

    Raises:
        UserError: before anything is written but a probe and `_running.json`, which are removed.
        AnnotationError: if an annotation is damaged.
    """
    run = prepare(config, display.track)
    url, columns = run.folder.url, run.contents.further
    if not run.open_tasks and run.folder.is_finished:
        display.say(f"nothing to do: {count(run.plan.count, 'shard')} answered already in {url}")
        return AskResult(counts=AskCounts(0), url=url, columns=columns)
    with run.folder.hold(force=config.force):
        result, summary = answer(run, display)
    return AskResult(
        counts=result.counts,
        failed=result.failed,
        actors=result.actors,
        url=url,
        columns=columns,
        summary=summary,
    )


def answer(run: Ask, display: Display) -> tuple[RunResult[AskCounts], RunSummary | None]:
    """Have actors ask all shards that have no answers yet; sum up unless the run is stopped."""
    tasks = run.open_tasks
    result = RunResult(counts=AskCounts(len(tasks)))
    with ManifestWriter() as manifest:
        run_on_cpus(
            tasks,
            asking(run.inputs, run.config.cpus_per_actor),
            result,
            run.config,
            run.folder,
            display,
            doing="asking",
            begin=run.begin,
            find_committed=partial(find_committed, run.folder.url, run.reopened),
            record=manifest.add,
        )
        if result.interrupted:
            return result, None
        return result, run.finish(manifest, result.counts.seconds, result.actors)
