"""An ask run: every shard that has no answers yet, on Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from rich.console import Console

from shardsift.asking.answers import AnswerReport, AskInputs, answer_shard
from shardsift.asking.prepare import Ask
from shardsift.engine.coordinator import Outcome
from shardsift.engine.progress import Tally
from shardsift.runs.on_cpus import CpuResult, CpuSpec, run_on_cpus


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


def asking(inputs: AskInputs, cpus: float) -> CpuSpec:
    """Tell how to make an actor that asks."""
    return CpuSpec(
        do=partial(answer_shard, inputs=inputs), cpus=cpus, get_ready=partial(_compute_on, cpus)
    )


def _compute_on(cpus: float) -> None:
    from shardsift.scoring.devices import use_cores  # imports torch

    use_cores(cpus)


def answer(run: Ask, console: Console) -> CpuResult:
    """Let actors ask all shards that have no answers yet."""
    if run.inputs is None:  # an earlier run ended between its last shard and its summary
        return CpuResult(tally=AskTally(0))
    return run_on_cpus(
        run.open_tasks,
        asking(run.inputs, run.config.cpus_per_actor),
        AskTally(len(run.open_tasks)),
        run.config,
        run.folder,
        console,
        verb="asking",
        begin=partial(run.folder.begin, run.record),
        find_committed=run.folder.find_committed,
    )
