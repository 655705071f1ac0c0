"""What runs on the cluster: actors that do one kind of work, a shard a call."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import ray

from shardsift.errors import ShardError


class Task(Protocol):
    """What an actor is asked to do; `shard` names it, no two tasks of a run alike."""

    @property
    def shard(self) -> str:
        """Its name below the output."""
        ...

    @property
    def url(self) -> str:
        """Where it lies, for people."""
        ...


class Report(Protocol):
    """What came of a task that was done: counts only, no images and no rows."""

    @property
    def shard(self) -> str:
        """The task's name."""
        ...


Work = Callable[[Any], Report]
"""Does a task and commits its result. Raises ShardError if it can't be done.

An actor that overlaps calls it in two threads.
"""


class ActorSpec(Protocol):
    """How to make an actor, and what it takes."""

    @property
    def gpus(self) -> float:
        """GPUs of an actor; 0 for none."""
        ...

    @property
    def cpus(self) -> float:
        """CPU cores of an actor."""
        ...

    @property
    def overlaps(self) -> bool:
        """Whether it gets ready for a shard while it works on another: two calls at a time."""
        ...

    def make_work(self) -> Work:
        """Load what the work needs; called in the actor's process, once."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where an actor sits."""

    node_id: str
    gpu_ids: tuple[str, ...]
    pid: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardTrouble:
    """A shard that could not be read or written; the actor itself is well."""

    reason: str


IN_FLIGHT = 2
"""Shards in an actor: one that it works on, and one that waits so that the actor never does."""


class ShardActor:
    """Makes ready once, then works on one shard a call."""

    def __init__(self, spec: ActorSpec) -> None:
        self._work = spec.make_work()

    def ready(self) -> Place:
        """Answer once everything is loaded."""
        context = ray.get_runtime_context()
        return Place(
            node_id=context.get_node_id(),
            gpu_ids=tuple(context.get_accelerator_ids()["GPU"]),
            pid=os.getpid(),
        )

    def process(self, task: Task) -> Report | ShardTrouble:
        """Do the work of a shard.

        Whatever else is raised leaves this process in doubt, and the coordinator restarts it.
        """
        try:
            return self._work(task)
        except ShardError as error:
            return ShardTrouble(reason=error.problem)
