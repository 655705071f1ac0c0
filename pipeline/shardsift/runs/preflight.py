"""Checks before a run begins, in seconds and not hours: a `Run` has passed them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from shardsift.config import RunConfig
from shardsift.engine.cluster import check_gpu
from shardsift.engine.environment import is_joined
from shardsift.errors import ConfigError
from shardsift.images.hashes import Hashes
from shardsift.measures import Contents, Measure, contents_of
from shardsift.outputs.folder import check_output
from shardsift.outputs.output import OutputFolder
from shardsift.outputs.sealed_table import Footer
from shardsift.progress import Display
from shardsift.records import ShardTask, has_changed
from shardsift.scoring.weights import sum_of_files
from shardsift.shards.plan import ShardPlan, plan_shards
from shardsift.storage.files import identify
from shardsift.version import __version__

if TYPE_CHECKING:  # a mistake is told before torch is loaded
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
        """Where actors compute. Never guessed: without a GPU to pin, Ray starts no actor."""
        return "cuda" if self.config.gpus_per_actor else "cpu"

    def tasks(self) -> Iterator[ShardTask]:
        """Yield the shards that have no annotation yet."""
        return (task for task in self.plan if task.annotation not in self.folder.committed)


def prepare(config: RunConfig, display: Display, load: LoadModel) -> Run:
    """Check that inputs are there, the output is writable and of this configuration, weights load.

    Changes nothing on disk but for a probe that it removes.

    Raises:
        UserError: with one line that says what to do.
    """
    if config.output is None:
        raise ConfigError("no --output; name a folder or URL for the annotations")
    with display.busy("looking up shards and output"):
        plan = plan_shards(config.shards)
        plan.check_found()
        check_output(config.output, {*plan.folders, plan.root}, plan)
        folder = OutputFolder(config.output)
    config = _with_dtype(config)
    weights = sum_of_files(config.scoring())
    measures = [Hashes(config.hashes)] if config.hashes else []
    model = None
    fingerprint = _fingerprint_if_done(config, measures, folder, plan, weights)
    if fingerprint is None:
        with display.busy("loading the weights"):
            check_gpu(config.address, config.gpus_per_actor)
            model = load(config)
        fingerprint = model.fingerprint
    contents = _contents(config, fingerprint, measures)
    folder.claim(contents, overwrite=config.overwrite)
    plan = folder.placed(plan, may_have_moved="changed" in config.rescore)
    committed = frozenset(folder.committed)
    if config.rescore:
        with display.busy("looking for shards to score again"):
            folder.reopen(plan, partial(_is_wanted_again, config, folder.has_moved(plan)))
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


def _contents(config: RunConfig, fingerprint: str, measures: Sequence[Measure]) -> Contents:
    scored = config.scoring(), fingerprint, config.asked()
    return contents_of(*scored, embeddings=config.embeddings, measures=measures)


def _with_dtype(config: RunConfig) -> RunConfig:
    """Put a dtype in the place of `auto`, one for all actors of a run.

    What GPUs a cluster has that is joined isn't known here: nearly all know bfloat16, and an actor
    on one that doesn't says so.
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
    folder: OutputFolder,
    plan: ShardPlan,
    weights: str | None,
) -> str | None:
    """Return the fingerprint of an output that needs no more scores, for which no model is loaded.

    The recorded settings match, and so does the hash of local weight files.
    """
    record = folder.record
    if record is None or config.overwrite or config.rescore:
        return None
    contents = _contents(config, record.fingerprint, measures)
    if (record.contents, record.weights, record.version) != (contents, weights, __version__):
        return None
    is_done = all(task.annotation in folder.committed for task in plan.below(record.root))
    return record.fingerprint if is_done else None


def _is_wanted_again(config: RunConfig, has_moved: bool, task: ShardTask, footer: Footer) -> bool:
    if "errors" in config.rescore and footer.report.errors:
        return True
    return "changed" in config.rescore and has_changed(
        identify(task.url, task.shard), footer.shard, has_moved=has_moved
    )
