"""A score run: its checks, in seconds and not hours, and every shard without annotation, on Ray."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from shardsift.config import RunConfig
from shardsift.config.heads import HeadSpec
from shardsift.engine.cluster import check_gpu, choose_actors, connected, share_of_cores
from shardsift.engine.coordinator import Outcome
from shardsift.engine.environment import is_joined
from shardsift.engine.run_loop import RunResult, run_tasks
from shardsift.engine.run_progress import RunCounts
from shardsift.errors import AnnotationError, ConfigError, EngineError, ErrorCode
from shardsift.images.hashes import Hashes
from shardsift.measures import MACLIP, Contents, Measure, Recorded, contents_of
from shardsift.outputs.manifest import ManifestWriter
from shardsift.outputs.output_folder import OutputFolder, complete
from shardsift.outputs.run_folder import check_output
from shardsift.outputs.sealed_table import Footer, read_footer
from shardsift.progress import Display
from shardsift.records import (
    FailedShard,
    PassedOver,
    ShardReport,
    ShardTask,
    StageSeconds,
    has_changed,
)
from shardsift.runs.scoring import ScoringSpec, load_maclip
from shardsift.scoring.weights import (
    clip_settings,
    flags_of_clip,
    standard_config,
    sum_of_files,
)
from shardsift.shards.plan import ShardPlan, plan_shards
from shardsift.shards.readers import identify_shard
from shardsift.storage.files import join
from shardsift.storage.lease import check_free
from shardsift.text import count
from shardsift.version import __version__

if TYPE_CHECKING:
    from shardsift.scoring.scorer import ImageScorer


class LoadedModel(Protocol):
    """A model that was loaded once, by the driver; pickled to the actors."""

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes a score."""
        ...

    def scorer(self, config: RunConfig, device: str) -> ImageScorer:
        """Make a scorer on a device, `cpu` or `cuda`, that can be trusted. Raises DeviceError."""
        ...


LoadModel = Callable[[RunConfig], LoadedModel]
"""Loads the model of a run, which takes seconds. Raises ModelError."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that passed its preflight.

    `reopened` are names of annotations that exist and will be replaced; there is no `model` if
    there is nothing to score.
    """

    config: RunConfig
    plan: ShardPlan
    folder: OutputFolder
    contents: Contents
    measures: Sequence[Measure]
    weights: str | None
    shards_to_score: int
    reopened: Collection[str]
    model: LoadedModel | None

    @property
    def device(self) -> str:
        """Device of the actors. Never guessed: without a GPU to pin, Ray starts no actor."""
        return "cuda" if self.config.gpus_per_actor else "cpu"

    def tasks(self) -> Iterator[ShardTask]:
        """Yield the shards that have no annotation yet."""
        return (task for task in self.plan if task.annotation not in self.folder.committed)


def prepare(config: RunConfig, display: Display, load: LoadModel) -> Run:
    """Check that inputs are there, the output is writable and of this configuration, weights load.

    Changes nothing on disk, except for a probe that it removes.

    Raises:
        UserError: with one line that says what to do.
    """
    if config.output is None:
        raise ConfigError("no --output; name a folder or URL for the annotations")
    with display.busy("looking up shards and output"):
        plan = plan_shards(config.shards, config.reading())
        plan.check_found()
        check_output(config.output, {*plan.folders, plan.root}, plan)
        folder = OutputFolder(config.output)
    may_have_moved = "changed" in config.rescore
    # People add to folders of pictures that are scored already.
    rescore = {*config.rescore, *(["changed"] if plan.reading.kind == "pictures" else [])}
    config = _with_dtype(config)
    weights = _sum_of_weights(config)
    heads = config.heads()
    measures: list[Measure] = [Hashes(config.hashes)] if config.hashes else []
    model = None
    fingerprint = None
    if not rescore:
        fingerprint = _fingerprint_if_done(config, measures, heads, folder, plan, weights)
    if fingerprint is None:
        with display.busy("loading the weights"):
            check_gpu(config.address, config.gpus_per_actor)
            model = load(config)
            measures += _load_clips(config, heads)
        fingerprint = model.fingerprint
        contents = _contents(config, fingerprint, measures)
    else:
        assert folder.record is not None, "it has been compared"
        contents = folder.record.contents
    folder.claim(contents, overwrite=config.overwrite)
    plan = folder.placed(plan, may_have_moved=may_have_moved)
    committed = frozenset(folder.committed)
    if rescore:
        with display.busy("looking for shards to score again"):
            folder.reopen(plan, partial(_is_wanted_again, rescore, folder.has_moved(plan)))
    return Run(
        config=config,
        plan=plan,
        folder=folder,
        contents=contents,
        measures=measures,
        weights=weights,
        shards_to_score=sum(task.annotation not in folder.committed for task in plan),
        reopened=committed - folder.committed,
        model=model,
    )


def _load_clips(config: RunConfig, heads: Sequence[HeadSpec]) -> Sequence[Measure]:
    """Load standard CLIPs, and the heads on their features. Raises ModelError."""
    if not config.clips():
        return []
    from shardsift.scoring.heads import load_heads  # imports torch
    from shardsift.scoring.questions import questions_of
    from shardsift.scoring.standard_clip import load_standard_clips

    clips = load_standard_clips(config.clips(), config.dtype, config.embeddings)
    towers = {clip.name: (clip.tower, clip.settings) for clip in clips}
    loaded: list[Measure] = [*clips, *load_heads(heads, towers)]
    name = config.attribute_of
    if asked := config.asked_of(name) if name != MACLIP else {}:
        (clip,) = (clip for clip in clips if clip.name == name)
        loaded.append(questions_of(clip.model, asked, name))
    return loaded


def _sum_of_weights(config: RunConfig) -> str | None:
    """Hash the files of all models, as `sum_of_files` does those of one."""
    sums = [sum_of_files(config.scoring())]
    with flags_of_clip():
        clips = config.clips().values()
        sums += [sum_of_files(standard_config(clip, config.dtype)) for clip in clips]
    return "-".join(each or "" for each in sums) or None


def _contents(
    config: RunConfig, fingerprint: str, measures: Sequence[Measure | Recorded]
) -> Contents:
    scored = config.scoring(), fingerprint, config.asked_of(MACLIP)
    return contents_of(*scored, embeddings=config.embeddings, measures=measures)


def _with_dtype(config: RunConfig) -> RunConfig:
    """Replace `auto` by the dtype for all actors of a run.

    The GPUs of a joined cluster aren't known here; nearly all have bfloat16, and an actor on
    another one raises an error.
    """
    if config.dtype != "auto":
        return config
    dtype = "bfloat16" if config.gpus_per_actor else "float32"
    if config.gpus_per_actor and not is_joined(config.address):
        check_gpu(config.address, config.gpus_per_actor)
        from shardsift.scoring.devices import decide_dtype  # imports torch

        dtype = decide_dtype(config.scoring(), "cuda").dtype
    return config.model_copy(update={"dtype": dtype})


def _fingerprint_if_done(
    config: RunConfig,
    measures: Sequence[Measure],
    heads: Sequence[HeadSpec],
    folder: OutputFolder,
    plan: ShardPlan,
    weights: str | None,
) -> str | None:
    """Return the fingerprint of an output that needs no more scores, for which no model is loaded.

    The recorded settings match, and so does the hash of local weight files.
    """
    record = folder.record
    if record is None or config.overwrite:
        return None
    wanted = {name: clip_settings(clip, config.dtype) for name, clip in config.clips().items()}
    wanted |= {head.name: head.settings for head in heads}
    if config.attribute_of != MACLIP and config.asked():
        wanted["attributes"] = json.loads(json.dumps(config.asked()))
    recorded = [
        Recorded(name, record.measures[name])
        for name, settings in wanted.items()
        if name in record.measures and _holds(record.measures[name].settings, settings)
    ]
    contents = _contents(config, record.fingerprint, [*measures, *recorded])
    if (record.contents, record.weights, record.version) != (contents, weights, __version__):
        return None
    is_done = all(task.annotation in folder.committed for task in plan.below(record.root))
    return record.fingerprint if is_done else None


def _holds(recorded: Any, settings: Mapping[str, Any]) -> bool:
    return isinstance(recorded, Mapping) and {**recorded, **settings} == recorded


def _is_wanted_again(rescore: Set[str], has_moved: bool, task: ShardTask, footer: Footer) -> bool:
    if "errors" in rescore and footer.report.errors:
        return True
    return "changed" in rescore and has_changed(
        identify_shard(task), footer.shard, has_moved=has_moved
    )


_SHARDS = 3


class FirstScores:
    """Watches a run until it has given a score; stops it if its first shards give none."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._shards = 0
        self._is_settled = False

    def add(self, outcome: Outcome) -> None:
        """Take in the next shard.

        Raises:
            EngineError: if it is the third of those that have pictures, and not one picture of
                theirs has a finite score.
        """
        if self._is_settled or not isinstance(outcome, ShardReport):
            return
        not_finite = outcome.errors.get(ErrorCode.NON_FINITE, 0)
        self._is_settled = outcome.rows > sum(outcome.errors.values())
        self._shards += not_finite > 0
        if self._shards == _SHARDS and not self._is_settled:
            config = self._config
            raise EngineError(
                f"no picture of the first {_SHARDS} shards has a finite score: {config.model} "
                f"can't compute in {config.dtype}, or its weights are damaged; change --dtype or "
                "--pretrained, and pass --overwrite"
            )


@dataclass
class ScoreCounts(RunCounts):
    """Counts of a `score` run; its work is the bytes of tars.

    `further` are images that share a sample with the one that was scored.
    """

    noun: ClassVar[str] = "images"

    further: int = 0
    stages: dict[str, StageSeconds] = field(default_factory=dict[str, StageSeconds], repr=False)

    def add(self, outcome: Outcome) -> None:
        """Count a shard, its images and errors, and the seconds of its stages."""
        super().add(outcome)
        if not isinstance(outcome, ShardReport):
            return
        further = outcome.passed_over.get(PassedOver.FURTHER_IMAGES, 0)
        errors = sum(outcome.errors.values())
        self.count(items=outcome.rows + further, errors=errors, work=outcome.bytes)
        self.further += further
        for stage, seconds in outcome.stages.items():
            self.stages[stage] = self.stages.get(stage, StageSeconds()) + seconds

    @property
    def pace(self) -> str:
        """Busy shares of the stages, and the slowest of them; empty without a shard."""
        if not self.stages:
            return ""
        shares = {stage: seconds.share for stage, seconds in self.stages.items()}
        busy = ", ".join(f"{stage} {share:.0%}" for stage, share in shares.items())
        return f"busy: {busy}; {max(shares, key=lambda stage: shares[stage])} sets the pace"

    def notes(self, work_per_second: float | None) -> Sequence[str]:
        """Return the number of images without a score."""
        return [f"{self.errors:,} without a score"] if self.errors else []


logger: Final = logging.getLogger(__name__)


ScoreResult = RunResult[ScoreCounts]


def score(config: RunConfig, display: Display, load: LoadModel = load_maclip) -> ScoreResult:
    """Annotate all shards that are not annotated yet.

    Raises:
        UserError: before anything is written but a probe and `_running.json`, which are removed;
            later if no actor can start, or no score is of use.
    """
    run = prepare(config, display, load)
    config = run.config
    if config.dry_run:
        return _rehearse(run, display)
    if run.shards_to_score == 0:
        nothing = RunResult(counts=ScoreCounts(shards_total=0))
        if not run.folder.is_finished:  # an earlier run was killed after its last shard
            with ManifestWriter() as manifest:
                _complete(run, manifest, nothing.counts, actors=0)
        shards = count(run.plan.count, "shard")
        display.say(f"nothing to do: {shards} annotated already in {config.output}")
        return nothing
    with run.folder.hold(force=config.force), connected(config.address):
        run = replace(run, config=_with_cores(config))
        return _score_shards(run, min(_choose_actors(run.config), run.shards_to_score), display)


def _rehearse(run: Run, display: Display) -> ScoreResult:
    config = run.config
    if not config.force:
        check_free(run.folder.url)
    with connected(config.address):
        actors = _choose_actors(_with_cores(config))
    shards = f"{run.shards_to_score:,} of {count(run.plan.count, 'shard')}"
    with_actors = f"with {count(actors, 'actor')}" if run.shards_to_score else "for all are there"
    display.say(f"dry run: would score {shards} {with_actors} into {config.output}")
    return RunResult(counts=ScoreCounts(shards_total=0))


def _with_cores(config: RunConfig) -> RunConfig:
    """Fill in the cores of an actor, if they are left to the cluster."""
    if config.cpus_per_actor is not None:
        return config
    cores = share_of_cores(config.actors, config.gpus_per_actor)
    return config.model_copy(update={"cpus_per_actor": cores})


def _choose_actors(config: RunConfig) -> int:
    return choose_actors(
        config.actors,
        config.gpus_per_actor,
        config.cpus_per_actor or 1,
        may_grow=is_joined(config.address),
    )


def _score_shards(run: Run, actors: int, display: Display) -> ScoreResult:
    result = RunResult(counts=ScoreCounts(shards_total=run.shards_to_score), actors=actors)
    config = run.config
    run.folder.begin(run.plan, run.contents, weights=run.weights)
    first_scores = FirstScores(config)
    logger.info("scoring %s with %s", count(run.shards_to_score, "shard"), count(actors, "actor"))

    def record(outcome: Outcome) -> None:
        assert isinstance(outcome, ShardReport | FailedShard), "actors of a score run report shards"
        manifest.add(outcome)
        first_scores.add(outcome)

    with ManifestWriter() as manifest:
        run_tasks(
            run.tasks(),
            _spec(run),
            config,
            run.folder,
            result,
            display,
            doing="scoring",
            find_committed=partial(find_committed, run.folder.url, run.reopened),
            record=record,
            stall_timeout=config.stall_timeout if config.gpus_per_actor else inf,
        )
        if not result.interrupted:  # a summary means that the run has finished
            _complete(run, manifest, result.counts, actors)
    return result


def _complete(run: Run, manifest: ManifestWriter, counts: ScoreCounts, actors: int) -> None:
    complete(
        run.folder,
        run.plan,
        manifest,
        contents=run.contents,
        actors=actors,
        seconds=counts.seconds,
    )


def _spec(run: Run) -> ScoringSpec:
    assert run.model is not None, "there is something to score"
    config = run.config
    return ScoringSpec(
        make_scorer=partial(run.model.scorer, config, run.device),
        output=run.folder.url,
        decode_workers=config.decode_workers_of_actor(),
        picture_timeout=config.picture_timeout,
        measures=run.measures,
        lease=run.folder.lease,
        gpus=config.gpus_per_actor,
        cpus=config.cpus_per_actor or 1,
    )


def find_committed(output: str, reopened: Collection[str], task: ShardTask) -> ShardReport | None:
    """Return the report of a shard committed by an actor that died before replying."""
    if task.annotation in reopened:
        return None
    try:
        return read_footer(join(output, task.annotation)).report
    except AnnotationError:
        return None
