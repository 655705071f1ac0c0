"""The coordinator's interface to Ray: actors, calls to them, and results of calls.

Ray's errors are translated here. A `Call` is a reference to a pending answer.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Protocol, cast

import ray
from ray.exceptions import (
    ActorDiedError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
)
from ray.util.scheduling_strategies import NodeLabelSchedulingStrategy, NotIn

from shardsift.engine.actor import (
    IN_FLIGHT,
    ActorSpec,
    Place,
    ProgressRelay,
    Ready,
    ShardActor,
    ShardResult,
    ShardTrouble,
    StartTrouble,
    Task,
    describe,
)
from shardsift.engine.cluster import live_node_ids
from shardsift.progress import ActorProgress

Call = Hashable

_NODE_ID = "ray.io/node-id"
"""The label that Ray gives to each node."""

_PROBE_SECONDS = 15.0

_NO_MEMORY = (
    "Ray's memory monitor kills workers because the node runs low on memory; end other programs "
    "there, lower --actors, --decode-workers or --batch-size, or set RAY_memory_usage_threshold"
)


class FailureKind(Enum):
    """State of an actor after a failed call."""

    RESTARTING = auto()
    """Its process or its node is gone; Ray starts it again and the same handle works then."""
    BROKEN = auto()
    """The actor is alive, but raised an unexpected error: its process may be in any state."""
    DEAD = auto()
    """Ray won't start it again."""
    UNSTARTABLE = auto()
    """Its process can't be initialised."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ActorFailure:
    """A failed call; `preempted` is true if its machine was taken away."""

    kind: FailureKind
    reason: str
    preempted: bool = False


Answer = Place | Ready | StartTrouble | ShardResult | ShardTrouble | ActorFailure
"""Result of a call."""


class Fleet(Protocol):
    """Actors somewhere: on Ray, or simulated."""

    @property
    def overlaps(self) -> bool:
        """True if an actor's calls overlap; else they run one after the other."""
        ...

    def start_actor(self, avoided: Collection[str]) -> Any:
        """Ask for an actor; on one of the nodes to be avoided if there is room nowhere else."""
        ...

    def place(self, actor: Any) -> Call:
        """Ask an actor for its `Place`: the answer comes when it sits somewhere."""
        ...

    def ready(self, actor: Any) -> Call:
        """Make an actor load the model; the answer is `Ready` or `StartTrouble`."""
        ...

    def process(self, actor: Any, task: Task) -> Call:
        """Ask an actor for the report of a shard."""
        ...

    def progress(self) -> Mapping[Place, ActorProgress] | None:
        """Return the latest report of each actor; None if none can be read now."""
        ...

    def restart(self, actor: Any) -> None:
        """Kill an actor's process and restart it; the handle stays valid."""
        ...

    def stop(self, actor: Any) -> None:
        """Kill an actor for good."""
        ...

    def wait(self, calls: Collection[Call], seconds: float) -> Collection[Call]:
        """Return those of the calls that have an answer, waiting at most so long for the first."""
        ...

    def answer(self, call: Call) -> Answer:
        """Return the result of a call that has an answer."""
        ...

    def live_nodes(self) -> set[str]:
        """List the ids of the nodes that are believed alive."""
        ...

    def memory_trouble(self) -> str | None:
        """Return why new processes are killed, if it is for lack of memory."""
        ...

    def now(self) -> float:
        """Return seconds on a clock that never goes back."""
        ...


class RayFleet:
    """Actors on the Ray cluster that this process is connected to."""

    def __init__(self, spec: ActorSpec) -> None:
        self.overlaps: bool = spec.overlaps
        self._spec = [ray.put(spec)]  # put once: it contains the model
        self._relay = ProgressRelay()
        self._options: dict[str, Any] = {
            "num_gpus": spec.gpus,
            "num_cpus": spec.cpus,
            "max_restarts": -1,
            "max_task_retries": 0,
        }
        if self.overlaps:
            # On CPUs one thread is used, the process's first, in which scoring is a quarter faster.
            self._options |= {"max_concurrency": IN_FLIGHT}

    def start_actor(self, avoided: Collection[str]) -> Any:
        """Ask Ray for an actor, which waits if the cluster has no room for it yet."""
        options = self._options
        if avoided:
            elsewhere = NodeLabelSchedulingStrategy({}, soft={_NODE_ID: NotIn(*avoided)})
            options = options | {"scheduling_strategy": elsewhere}
        return cast(Any, ray.remote)(**options)(ShardActor).remote(str(Path.cwd()))

    def place(self, actor: Any) -> Call:
        """Ask an actor for its `Place`."""
        return actor.place.remote()

    def ready(self, actor: Any) -> Call:
        """Make the actor load the model."""
        return actor.ready.remote(self._spec, self._relay.actor)

    def process(self, actor: Any, task: Task) -> Call:
        """Ask for a shard in one call; only its counts come back."""
        return actor.process.remote(task)

    def progress(self) -> Mapping[Place, ActorProgress] | None:
        """Return the relay's latest answer, without waiting."""
        return self._relay.read()

    def restart(self, actor: Any) -> None:
        """Kill the actor's process, which takes a moment: it may still answer once."""
        ray.kill(actor, no_restart=False)

    def stop(self, actor: Any) -> None:
        """Release the actor's GPU."""
        ray.kill(actor)

    def wait(self, calls: Collection[Call], seconds: float) -> Collection[Call]:
        """Return all calls that have an answer, once one has."""
        refs = cast(list[Any], list(calls))
        if not refs:  # all actors are paused
            sleep(seconds)
            return []
        done, _ = ray.wait(refs, num_returns=1, timeout=seconds)
        if done:
            done, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        return done

    def answer(self, call: Call) -> Answer:
        """Return the answer, or what happened to the actor."""
        try:
            return cast(Answer, ray.get(cast(Any, call)))
        except RayActorError as error:
            return ActorFailure(
                kind=_fate(error),
                reason=_describe(error),
                preempted=getattr(error, "preempted", False),
            )
        except RayError as error:
            return ActorFailure(kind=FailureKind.BROKEN, reason=_describe(error))

    def live_nodes(self) -> set[str]:
        """List the live nodes; Ray notices a lost node after about 10 s."""
        return live_node_ids()

    def memory_trouble(self) -> str | None:
        """Start an idle process: Ray reports why it is killed, which it doesn't for actors."""
        probe: Any = ray.remote(num_cpus=0, max_retries=0)(_idle)
        try:
            ray.get(probe.remote(), timeout=_PROBE_SECONDS)
        except OutOfMemoryError:
            return _NO_MEMORY
        except RayError:
            return None
        return None

    def now(self) -> float:
        """Return this machine's monotonic clock."""
        return monotonic()


def _idle() -> None:
    """Live long enough for the monitor to look."""
    sleep(2.0)


def _fate(error: RayActorError) -> FailureKind:
    if not isinstance(error, ActorDiedError):
        return FailureKind.RESTARTING
    return FailureKind.UNSTARTABLE if error.actor_init_failed else FailureKind.DEAD


def _describe(error: RayError) -> str:
    """Put what Ray says of an error into one line: the cause's."""
    if isinstance(error, OutOfMemoryError):
        return _NO_MEMORY
    if isinstance(error, RayTaskError):
        return describe(getattr(error, "cause", error))
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
