"""A score run: every shard that has no annotation yet, on Ray."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from typing import ClassVar

from shardsift.config import RunConfig
from shardsift.engine.cluster import choose_actors, connected, share_of_cores
from shardsift.engine.coordinator import Outcome
from shardsift.engine.environment import is_joined
from shardsift.engine.progress import RunCounts
from shardsift.engine.run_loop import run_tasks
from shardsift.errors import AnnotationError, EngineError, ErrorCode
from shardsift.outputs.manifest import ManifestWriter
from shardsift.outputs.output import complete
from shardsift.outputs.sealed_table import read_footer
from shardsift.progress import Display
from shardsift.records import FailedShard, PassedOver, ShardReport, ShardTask, StageSeconds
from shardsift.runs.preflight import LoadModel, Run, prepare
from shardsift.runs.scoring import ScoringSpec, load_maclip
from shardsift.storage.files import join
from shardsift.storage.lease import check_free
from shardsift.text import count

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
    """Counts of a run that scores; its work is the bytes of tars.

    `further` are images that share a sample with the one that was scored.
    """

    noun: ClassVar[str] = "images"

    further: int = 0
    stages: dict[str, StageSeconds] = field(default_factory=dict[str, StageSeconds])

    def add(self, outcome: Outcome) -> None:
        """Count a shard, its images and errors, and the seconds of its stages."""
        super().add(outcome)
        if not isinstance(outcome, ShardReport):
            return
        self.items += outcome.rows + outcome.passed_over.get(PassedOver.FURTHER_IMAGES, 0)
        self.errors += sum(outcome.errors.values())
        self.further += outcome.passed_over.get(PassedOver.FURTHER_IMAGES, 0)
        self.work += outcome.bytes
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


_FAILURES_SHOWN = 20

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class ScoreResult:
    """Result of a run: counts, the first shards that it gave up, whether it was stopped."""

    counts: ScoreCounts
    failed: list[FailedShard] = field(default_factory=list[FailedShard])
    interrupted: bool = False


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
        nothing = ScoreResult(counts=ScoreCounts(shards_total=0))
        if not run.folder.is_finished:  # an earlier run ended between its last shard and here
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
    return ScoreResult(counts=ScoreCounts(shards_total=0))


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
    result = ScoreResult(counts=ScoreCounts(shards_total=run.shards_to_score))
    config = run.config
    run.folder.begin(run.plan, run.contents, weights=run.weights)
    first_scores = FirstScores(config)
    logger.info("scoring %s with %s", count(run.shards_to_score, "shard"), count(actors, "actor"))

    def record(outcome: Outcome) -> None:
        assert isinstance(outcome, ShardReport | FailedShard), "actors of a score run report shards"
        manifest.add(outcome)
        first_scores.add(outcome)
        if isinstance(outcome, FailedShard) and len(result.failed) < _FAILURES_SHOWN:
            result.failed.append(outcome)

    with ManifestWriter() as manifest:
        run_tasks(
            run.tasks(),
            _spec(run),
            actors,
            config,
            run.folder,
            result.counts,
            display,
            doing="scoring",
            find_committed=partial(find_committed, run.folder.url, run.reopened),
            record=record,
            stall_timeout=config.stall_timeout if config.gpus_per_actor else inf,
        )
        result.interrupted = result.counts.shards < result.counts.shards_total
        if not result.interrupted:  # the summary says that a run came to its end
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
