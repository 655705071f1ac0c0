"""An ask run: every shard that has no answers yet, on Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console

from shardsift.asking.answers import AnswerReport, AskInputs, AskTask, answer_shard
from shardsift.asking.prepare import Ask
from shardsift.engine.cluster import choose_actors, connected
from shardsift.engine.coordinator import Coordinator, Outcome
from shardsift.engine.drive import drive
from shardsift.engine.environment import is_joined
from shardsift.engine.fleet import RayFleet
from shardsift.engine.progress import Tally
from shardsift.records import FailedShard
from shardsift.scoring.heap import keep_heap


@dataclass(frozen=True, kw_only=True, slots=True)
class AskingSpec:
    """How to make an actor that asks."""

    inputs: AskInputs
    cpus: float
    gpus: float = 0
    overlaps: bool = False

    def make_work(self) -> Asking:
        """Make the work; what is asked has been read."""
        from shardsift.scoring.devices import use_cores  # imports torch

        use_cores(self.cpus)
        keep_heap()
        return Asking(self.inputs)


class Asking:
    """Asks a shard, and commits its answers."""

    def __init__(self, inputs: AskInputs) -> None:
        self._inputs = inputs
        self._shards = 0

    def __call__(self, task: AskTask) -> AnswerReport:
        """Ask the embeddings of a shard. Raises ShardError."""
        report = answer_shard(task, self._inputs)
        self._shards += 1
        return report

    def progress(self) -> int:
        """Count shards."""
        return self._shards


@dataclass
class AskTally(Tally):
    """Counts of a run that asks."""

    rows: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count a shard and its rows."""
        super().add(outcome)
        if isinstance(outcome, AnswerReport):
            self.rows += outcome.rows

    @property
    def numbers(self) -> Sequence[str]:
        """Rows, and their speed."""
        return [f"{self.rows:,} rows", f"{self.rows / max(self.seconds, 1e-9):,.0f} rows/s"]


@dataclass(kw_only=True)
class AskResult:
    """What a run came to: counts, and the outcome of each shard."""

    tally: AskTally
    reports: list[AnswerReport] = field(default_factory=list[AnswerReport])
    failed: list[FailedShard] = field(default_factory=list[FailedShard])

    def record(self, outcome: Outcome) -> None:
        """Keep what is told and summed up at the end."""
        if isinstance(outcome, FailedShard):
            self.failed.append(outcome)
        elif isinstance(outcome, AnswerReport):
            self.reports.append(outcome)


def answer(run: Ask, console: Console) -> AskResult:
    """Let actors ask all shards that have no answers yet."""
    tasks = run.open_tasks
    if not tasks:  # an earlier run ended between its last shard and its summary
        return AskResult(tally=AskTally(0))
    assert run.inputs, "there is something to ask"
    config = run.config
    with connected(config.address):
        fitting = choose_actors(
            config.actors, 0, config.cpus_per_actor, may_grow=is_joined(config.address)
        )
        run.folder.begin(run.record)
        result = AskResult(tally=AskTally(len(tasks)))
        coordinator = Coordinator(
            RayFleet(AskingSpec(inputs=run.inputs, cpus=config.cpus_per_actor)),
            min(fitting, len(tasks)),
            max_attempts=config.max_attempts,
            shard_timeout=config.shard_timeout,
            find_committed=run.folder.find_committed,
        )
        drive(coordinator, tasks, result.tally, run.folder, result.record, console, "asking")
    return result
