"""A run whose actors have no image model: a task a call, on CPU cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from shardsift.config import RayConfig
from shardsift.engine.actor import ShardResult, Task
from shardsift.engine.cluster import choose_actors, connected
from shardsift.engine.environment import is_joined
from shardsift.engine.run_loop import RunResult, run_tasks
from shardsift.outputs.run_folder import RunFolder
from shardsift.progress import Display, Meter
from shardsift.threads import keep_heap


@dataclass(frozen=True, kw_only=True, slots=True)
class CpuSpec:
    """An actor without an image model: its work, and the resources it takes.

    `do` does a task, which a meter counts, and raises ShardError if it can't be done; `get_ready`
    is called before, in the actor's process.
    """

    do: Callable[[Any, Meter], ShardResult]
    cpus: float
    get_ready: Callable[[], None] | None = None
    gpus: float = 0
    overlaps: bool = False

    def make_work(self) -> CpuWork:
        """Get ready; nothing has to be loaded."""
        keep_heap()
        if self.get_ready:
            self.get_ready()
        return CpuWork(self.do)


class CpuWork:
    """Does a task, and counts it."""

    def __init__(self, do: Callable[[Any, Meter], ShardResult]) -> None:
        self._do = do
        self.meter: Meter = Meter()

    def __call__(self, task: Task) -> ShardResult:
        """Do it. Raises ShardError."""
        return self._do(task, self.meter)


def run_on_cpus(
    tasks: Sequence[Task],
    spec: CpuSpec,
    result: RunResult[Any],
    config: RayConfig,
    folder: RunFolder,
    display: Display,
    *,
    doing: str,
    begin: Callable[[], None],
    find_committed: Callable[[Any], ShardResult | None],
    record: Callable[[Any], object],
) -> None:
    """Run all tasks by actors, and count them in `result`; return at once if there are none.

    Args:
        doing: name of the activity, as in `scoring`.
        begin: prepares the folder, after the check that actors fit.
        find_committed: finds the result of a task whose actor died before it replied.
        record: called with the outcome of each task.
    """
    if not tasks:
        return

    with connected(config.address):
        may_grow = is_joined(config.address)
        fitting = choose_actors(config.actors, spec.gpus, spec.cpus, may_grow=may_grow)
        result.actors = min(fitting, len(tasks))
        begin()
        run_tasks(
            tasks,
            spec,
            config,
            folder,
            result,
            display,
            doing=doing,
            find_committed=find_committed,
            record=record,
        )
