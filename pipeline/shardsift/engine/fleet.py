"""All that the coordinator asks of Ray: actors, calls to them, and what came of a call.

Ray's errors are translated here. A `Call` stands for an answer that is not there yet.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from dataclasses import dataclass
from enum import Enum, auto
from time import monotonic
from typing import Any, Protocol, cast

import ray
from ray.exceptions import ActorDiedError, RayActorError, RayError, RayTaskError

from shardsift.engine.actor import (
    IN_FLIGHT,
    ActorSpec,
    Place,
    Report,
    ShardActor,
    ShardTrouble,
    Task,
)
from shardsift.engine.cluster import live_node_ids

Call = Hashable


class Fate(Enum):
    """What has become of an actor that failed."""

    RESTARTING = auto()
    """Its process or its node is gone; Ray starts it again and the same handle works then."""
    BROKEN = auto()
    """It lives, but raised what it shouldn't: its process may be in any state."""
    DEAD = auto()
    """Ray won't start it again."""
    UNSTARTABLE = auto()
    """Its constructor raised."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ActorFailure:
    """In place of an answer; `preempted` says that its machine was taken away."""

    fate: Fate
    reason: str
    preempted: bool = False


Answer = Place | Report | ShardTrouble | ActorFailure


class Fleet(Protocol):
    """Actors somewhere: on Ray, or simulated."""

    @property
    def overlaps(self) -> bool:
        """Whether an actor's calls overlap; else they run one after the other."""
        ...

    def start_actor(self) -> Any:
        """Ask for an actor; `ready` answers when it sits somewhere and is prepared."""
        ...

    def ready(self, actor: Any) -> Call:
        """Ask an actor for its `Place`."""
        ...

    def process(self, actor: Any, task: Task) -> Call:
        """Ask an actor for the report of a shard."""
        ...

    def restart(self, actor: Any) -> None:
        """Kill an actor's process and start it anew; the handle stays."""
        ...

    def stop(self, actor: Any) -> None:
        """Kill an actor for good."""
        ...

    def wait(self, calls: Collection[Call], seconds: float) -> Collection[Call]:
        """Return those of the calls that have an answer, waiting at most so long for the first."""
        ...

    def answer(self, call: Call) -> Answer:
        """Return what came of a call that has an answer."""
        ...

    def live_nodes(self) -> set[str]:
        """List the ids of the nodes that are believed alive."""
        ...

    def now(self) -> float:
        """Return seconds on a clock that never goes back."""
        ...


class RayFleet:
    """Actors on the Ray cluster that this process is connected to."""

    def __init__(self, spec: ActorSpec) -> None:
        self._spec = spec
        self.overlaps = spec.overlaps

    def start_actor(self) -> Any:
        """Ask Ray for an actor, which waits if the cluster has no room for it yet."""
        spec = self._spec
        remote = ray.remote(
            num_gpus=spec.gpus, num_cpus=spec.cpus, max_restarts=-1, max_task_retries=0
        )
        calls_at_a_time = IN_FLIGHT if self.overlaps else 1
        return remote(ShardActor).options(max_concurrency=calls_at_a_time).remote(spec)

    def ready(self, actor: Any) -> Call:
        """Ask an actor for its `Place`, without Ray's retries: it would tell of each."""
        return actor.ready.remote()

    def process(self, actor: Any, task: Task) -> Call:
        """Ask for a shard in one call; only its counts come back."""
        return actor.process.remote(task)

    def restart(self, actor: Any) -> None:
        """Kill the actor's process, which takes a moment: it may still answer once."""
        ray.kill(actor, no_restart=False)

    def stop(self, actor: Any) -> None:
        """Give back its GPU."""
        ray.kill(actor)

    def wait(self, calls: Collection[Call], seconds: float) -> Collection[Call]:
        """Return all calls that have an answer, once one has."""
        refs = cast(list[Any], list(calls))
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
                fate=_fate(error),
                reason=_describe(error),
                preempted=getattr(error, "preempted", False),
            )
        except RayError as error:
            return ActorFailure(fate=Fate.BROKEN, reason=_describe(error))

    def live_nodes(self) -> set[str]:
        """List the live nodes; after a node is lost, Ray takes some 10 s to notice."""
        return live_node_ids()

    def now(self) -> float:
        """Return this machine's monotonic clock."""
        return monotonic()


def _fate(error: RayActorError) -> Fate:
    if not isinstance(error, ActorDiedError):
        return Fate.RESTARTING
    return Fate.UNSTARTABLE if error.actor_init_failed else Fate.DEAD


def _describe(error: RayError) -> str:
    """Put what Ray says of an error into one line: the cause's."""
    if isinstance(error, RayTaskError):
        cause = getattr(error, "cause", error)
        return f"{type(cause).__name__}: {cause}".splitlines()[0]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
