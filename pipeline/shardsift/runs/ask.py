"""An ask run: every shard that has no answers yet, on Ray."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from shardsift.asking.answers import AnswerReport, AskInputs, AskTask, answer_shard
from shardsift.asking.prepare import Ask
from shardsift.engine.coordinator import Outcome
from shardsift.engine.tally import Tally
from shardsift.progress import Display, Meter
from shardsift.runs.on_cpus import CpuResult, CpuSpec, run_on_cpus


@dataclass
class AskTally(Tally):
    """Counts of a run that asks."""

    noun: ClassVar[str] = "rows"

    def add(self, outcome: Outcome) -> None:
        """Count a shard and its rows."""
        super().add(outcome)
        if isinstance(outcome, AnswerReport):
            self.items += outcome.rows
            self.work += outcome.rows


def _answer(inputs: AskInputs, task: AskTask, meter: Meter) -> AnswerReport:
    return answer_shard(task, inputs, meter)


def asking(inputs: AskInputs, cpus: float) -> CpuSpec:
    """Tell how to make an actor that asks."""
    return CpuSpec(do=partial(_answer, inputs), cpus=cpus, get_ready=partial(_compute_on, cpus))


def _compute_on(cpus: float) -> None:
    from shardsift.scoring.devices import use_cores  # imports torch

    use_cores(cpus)


def answer(run: Ask, display: Display) -> CpuResult:
    """Let actors ask all shards that have no answers yet."""
    if run.inputs is None:  # an earlier run ended between its last shard and its summary
        return CpuResult(tally=AskTally(0))
    return run_on_cpus(
        run.open_tasks,
        asking(replace(run.inputs, lease=run.folder.lease), run.config.cpus_per_actor),
        AskTally(len(run.open_tasks)),
        run.config,
        run.folder,
        display,
        doing="asking",
        begin=partial(run.folder.begin, run.record),
        find_committed=run.folder.find_committed,
    )
