"""`shardsift score`, also `python -m jobs.score`: annotate every shard of a run."""

from __future__ import annotations

if __name__ == "__main__":  # before Ray is imported, which reads its environment then
    import sys

    from jobs.cli import main

    sys.exit(main(["score", *sys.argv[1:]]))

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

import torch
from rich.console import Console

from jobs.engine.actor import ActorSettings, start_actor
from jobs.engine.cluster import choose_actors, connected
from jobs.engine.coordinator import Coordinator, Outcome
from jobs.engine.interrupt import on_interrupt
from jobs.engine.progress import Tally, count, show_progress
from jobs.environment import is_joined
from jobs.exit_codes import DONE, FAILED, INTERRUPTED
from pipeline.annotate import AnnotateSettings
from pipeline.annotations import Footer, read_footer
from pipeline.config import RunConfig
from pipeline.errors import AnnotationError, ConfigError
from pipeline.lease import check_free, held
from pipeline.manifest import ManifestWriter, read_manifest
from pipeline.output import MANIFEST, OutputFolder
from pipeline.plan import ShardPlan, plan_shards
from pipeline.records import FailedShard, ShardReport, ShardTask
from pipeline.scoring.scorer import ImageScorer, Scorer
from pipeline.storage import check_output, identify, join

ScorerFactory = Callable[[RunConfig, str], ImageScorer]
"""Makes a scorer for a run on a device, `cpu` or `cuda`; pickled to the actors."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that passed its preflight.

    `reopened` are names of annotations that exist and will be replaced.
    """

    config: RunConfig
    plan: ShardPlan
    folder: OutputFolder
    fingerprint: str
    shards_to_score: int
    reopened: Collection[str]
    make_scorer: ScorerFactory

    @property
    def device(self) -> str:
        """Where actors compute. Never guessed: without a GPU to pin, Ray starts no actor."""
        return "cuda" if self.config.gpus_per_actor else "cpu"

    def tasks(self) -> Iterator[ShardTask]:
        """Shards that have no annotation yet."""
        return (task for task in self.plan if task.annotation not in self.folder.committed)


@dataclass(kw_only=True)
class ScoreResult:
    """What a run came to: counts of this run, the shards it gave up, whether it was stopped."""

    tally: Tally
    actors: int = 0
    failed: list[FailedShard] = field(default_factory=list[FailedShard])
    interrupted: bool = False


def maclip_scorer(config: RunConfig, device: str) -> ImageScorer:
    """MA-CLIP, the scorer of every real run."""
    # Ray sets OMP_NUM_THREADS to an actor's cores, but torch may have looked before that.
    torch.set_num_threads(max(1, int(config.cpus_per_actor)))
    return Scorer(config.scoring(), device=device, batch_size=config.batch_size)


def score(
    config: RunConfig, console: Console, make_scorer: ScorerFactory = maclip_scorer
) -> ScoreResult:
    """Annotate all shards that are not annotated yet.

    Raises:
        UserError: before anything is written but a probe and `_running.json`, which are removed.
    """
    with console.status("checking shards, output and weights"):
        run = prepare(config, make_scorer)
    if config.dry_run:
        return _rehearse(run, console)
    if run.shards_to_score == 0:
        nothing = ScoreResult(tally=Tally(shards_total=0))
        if not run.folder.is_finished:  # an earlier run ended between its last shard and here
            _write_results(run, ManifestWriter(), set(), nothing)
        shards = count(run.plan.count, "shard")
        console.print(f"nothing to do: {shards} annotated already in {config.output}")
        return nothing
    with held(run.folder.url, force=config.force), connected(config.address):
        return _score_shards(run, min(_choose_actors(config), run.shards_to_score), console)


def prepare(config: RunConfig, make_scorer: ScorerFactory) -> Run:
    """The preflight: inputs found, output writable, weights loadable, configuration the same.

    Changes nothing on disk but for a probe that it removes.
    """
    if config.output is None:
        raise ConfigError("no --output; name a folder or URL for the annotations")
    plan = plan_shards(config.shards)
    check_output(config.output, {*plan.folders, plan.root})
    folder = OutputFolder(config.output)
    fingerprint = make_scorer(config, "cpu").fingerprint
    settings = config.scoring().model_dump(mode="json")
    plan = folder.claim(plan, fingerprint, settings, config.overwrite)
    committed = frozenset(folder.committed)
    if config.retry_errors or config.check_inputs:
        folder.reopen(plan, partial(_is_wanted_again, config))
    return Run(
        config=config,
        plan=plan,
        folder=folder,
        fingerprint=fingerprint,
        shards_to_score=sum(task.annotation not in folder.committed for task in plan),
        reopened=committed - folder.committed,
        make_scorer=make_scorer,
    )


def report_result(run: ScoreResult, config: RunConfig, console: Console) -> int:
    """Tell how it went; exit code 0, 1 where shards failed, 130 where the run was stopped."""
    tally = run.tally
    if tally.shards:
        console.print(
            f"scored {tally.images - tally.errors:,} of {tally.images:,} images "
            f"in {count(tally.shards - tally.failed, 'shard')}, {tally.seconds:,.1f} s, "
            f"{tally.images_per_second:,.1f} images/s, into {config.output}"
        )
    for failed in run.failed[:20]:
        console.print(f"[red]failed[/] {failed.shard}: {failed.reason}", soft_wrap=True)
    if run.failed:
        console.print(
            f"{count(len(run.failed), 'shard')} failed, see {config.output}/_failed; "
            "the same command tries them again"
        )
    if run.interrupted:
        left = tally.shards_total - tally.shards
        console.print(f"stopped: the same command goes on with the other {count(left, 'shard')}")
        return INTERRUPTED
    return FAILED if run.failed else DONE


def _is_wanted_again(config: RunConfig, task: ShardTask, footer: Footer) -> bool:
    if any(footer.report.errors.get(code) for code in config.retry_errors):
        return True
    return config.check_inputs and identify(task) != footer.shard


def _rehearse(run: Run, console: Console) -> ScoreResult:
    config = run.config
    if not config.force:
        check_free(run.folder.url)
    with connected(config.address):
        actors = _choose_actors(config)
    console.print(
        f"dry run: would score {run.shards_to_score:,} of {run.plan.count:,} shards "
        f"with {actors} actors into {config.output}"
    )
    return ScoreResult(tally=Tally(shards_total=0))


def _choose_actors(config: RunConfig) -> int:
    return choose_actors(
        config.actors,
        config.gpus_per_actor,
        config.cpus_per_actor,
        may_grow=is_joined(config.address),
    )


def _score_shards(run: Run, actors: int, console: Console) -> ScoreResult:
    result = ScoreResult(tally=Tally(shards_total=run.shards_to_score), actors=actors)
    config = run.config
    settings = _actor_settings(run)
    run.folder.begin(run.plan, run.fingerprint, settings.annotate.config)
    coordinator = Coordinator(
        partial(start_actor, settings),
        actors,
        max_attempts=config.max_attempts,
        time_limit=config.time_limit,
        find_committed=partial(_find_committed, run),
    )
    logger.info("scoring %d shards with %d actors", run.shards_to_score, actors)
    reported: set[str] = set()
    manifest = ManifestWriter()
    try:
        with (
            on_interrupt(partial(_finish, coordinator, console)),
            show_progress(console, run.shards_to_score) as show,
        ):
            for outcome in coordinator.run(run.tasks()):
                _record(run, outcome, result)
                manifest.add(outcome)
                reported.add(outcome.shard)
                show(result.tally)
    finally:
        coordinator.stop()
    run.folder.sweep()
    result.interrupted = result.tally.shards < run.shards_to_score
    if not result.interrupted:  # the summary says that a run came to its end
        _write_results(run, manifest, reported, result)
    return result


def _finish(coordinator: Coordinator, console: Console) -> None:
    console.print("stopping: shards under way are finished first; once more stops at once")
    coordinator.finish()


def _actor_settings(run: Run) -> ActorSettings:
    config = run.config
    assert config.output is not None
    return ActorSettings(
        make_scorer=partial(run.make_scorer, config, run.device),
        annotate=AnnotateSettings(
            output=config.output,
            fingerprint=run.fingerprint,
            config=config.scoring().model_dump(mode="json"),
            decode_threads=config.decode_threads,
            max_pixels=config.max_pixels,
        ),
        gpus=config.gpus_per_actor,
        cpus=config.cpus_per_actor,
    )


def _find_committed(run: Run, task: ShardTask) -> ShardReport | None:
    """The report of a shard that was committed in this run, though nobody heard of it."""
    if task.annotation in run.reopened:
        return None
    try:
        return read_footer(join(run.folder.url, task.annotation)).report
    except AnnotationError:
        return None


def _record(run: Run, outcome: Outcome, result: ScoreResult) -> None:
    result.tally.add(outcome)
    if isinstance(outcome, FailedShard):
        result.failed.append(outcome)
        run.folder.write_failed(outcome)
        logger.warning("gave up %s after %d attempts", outcome.shard, outcome.attempts)
    else:
        run.folder.forget_failed(outcome.shard)


def _write_results(
    run: Run, manifest: ManifestWriter, reported: Collection[str], result: ScoreResult
) -> None:
    """Write the manifest of all shards, those of earlier runs included, and the summary."""
    with manifest:
        for report in _earlier_reports(run, reported):
            manifest.add(report)
        manifest.commit(join(run.folder.url, MANIFEST))
        totals = manifest.totals.as_dict()
    if unscored := manifest.totals.unscored_images:
        logger.warning("%d images share a sample with another one and were not scored", unscored)
    run.folder.write_summary(
        totals
        | {
            "seconds": round(result.tally.seconds, 3),
            "images_per_second": round(result.tally.images_per_second, 3),
            "stage_seconds": {name: round(s, 3) for name, s in result.tally.stages.items()},
            "actors": result.actors,
            "fingerprint": run.fingerprint,
        }
    )


def _earlier_reports(run: Run, reported: Collection[str]) -> Iterator[ShardReport]:
    """Reports of shards committed by earlier runs: from the last manifest, else their footers."""
    committed = {
        task.shard: task
        for task in run.plan
        if task.annotation in run.folder.committed and task.shard not in reported
    }
    with closing(read_manifest(join(run.folder.url, MANIFEST))) as known:
        for report in known:
            if committed.pop(report.shard, None):
                yield report
    for _, footer in run.folder.footers(committed.values()):
        yield footer.report
