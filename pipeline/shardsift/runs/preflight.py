"""What is checked before a run begins, in seconds and not hours: a `Run` is what passed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console

from shardsift.annotations.folder import OutputFolder, check_output
from shardsift.annotations.parquet import Footer
from shardsift.config import RunConfig
from shardsift.engine.cluster import check_gpu
from shardsift.errors import ConfigError
from shardsift.records import ShardTask
from shardsift.shards.plan import ShardPlan, plan_shards
from shardsift.storage.files import identify

if TYPE_CHECKING:  # a mistake is told before torch is loaded
    from shardsift.scoring.scorer import ImageScorer

ScorerFactory = Callable[[RunConfig, str], "ImageScorer"]
"""Makes a scorer for a run on a device, `cpu` or `cuda`; pickled to the actors."""


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
        """Yield the shards that have no annotation yet."""
        return (task for task in self.plan if task.annotation not in self.folder.committed)


def prepare(config: RunConfig, console: Console, make_scorer: ScorerFactory) -> Run:
    """Check that inputs are there, the output is writable and of this configuration, weights load.

    Changes nothing on disk but for a probe that it removes.

    Raises:
        UserError: with one line that says what to do.
    """
    if config.output is None:
        raise ConfigError("no --output; name a folder or URL for the annotations")
    with console.status("looking up shards and output"):
        plan = plan_shards(config.shards)
        check_output(config.output, {*plan.folders, plan.root})
        plan.check_found()
        folder = OutputFolder(config.output)
    with console.status("loading the weights"):
        check_gpu(config.address, config.gpus_per_actor)
        fingerprint = make_scorer(config, "cpu").fingerprint
    settings = config.scoring().model_dump(mode="json")
    plan = folder.claim(plan, fingerprint, settings, config.overwrite)
    committed = frozenset(folder.committed)
    if config.retry_errors or config.check_inputs:
        with console.status("looking for shards to score again"):
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


def _is_wanted_again(config: RunConfig, task: ShardTask, footer: Footer) -> bool:
    if any(footer.report.errors.get(code) for code in config.retry_errors):
        return True
    return config.check_inputs and identify(task.url, task.shard) != footer.shard
