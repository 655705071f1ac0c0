"""Actors on virtual time: hours of a large cluster in seconds, and the same hours every time."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from math import inf
from random import Random
from typing import Literal

import numpy as np

from shardsift.engine.actor import Place, Ready, ShardTrouble, StartTrouble, Task
from shardsift.engine.fleet import ActorFailure, Answer, Call, FailureKind
from shardsift.outputs.sketch import quantile_sketch
from shardsift.progress import ActorProgress
from shardsift.records import ShardReport

ACTORS_PER_NODE = 8
MEAN_SECONDS = 10.0
"""Mean seconds of a shard; each takes between half of it and one and a half."""

_SKETCH = quantile_sketch(np.linspace(0, 1, 100, dtype=np.float32))
_CRASH_IS_NOTICED, _LOSS_IS_NOTICED = 1.5, 16.0


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds that things take which are no work."""

    arrival: float = 2.0
    loading: float = 18.0
    restart: float = 4.0
    new_node: float = 60.0


ShardSeconds = Callable[[Random, int], float]
"""Seconds of a shard, by the number of actors that work."""


def ten_seconds(random: Random, _: int) -> float:
    """Ten seconds on average, whatever the number of actors."""
    return MEAN_SECONDS * random.uniform(0.5, 1.5)


Flaw = Literal["raise", "die", "hang"]
"""Fault of an actor that doesn't get ready on a node."""


@dataclass(eq=False)
class SimulatedActor:
    """Does its calls one after the other; `free_at` is when it has done them all."""

    node: int
    free_at: float
    pid: int = 1
    is_loaded: bool = False
    down: bool = False
    pending: list[int] = field(default_factory=list[int])


@dataclass
class SimulatedFleet:
    """A `Fleet` on `nodes` machines. `deadly` shards kill their worker, `hanging` are never done.

    Shards of `unwritable` can't be written until a time, as on a full disk.

    `flaws` are of nodes, `seconds_busy` adds up what all actors worked, `tried` counts how often
    each of those shards was begun, `starts` the starts on each node, `queued` the shards that were
    there before their actor was free.
    """

    nodes: int = 1_000_000
    flaws: Mapping[int, Flaw] = field(default_factory=dict[int, Flaw])
    deadly: Collection[str] = ()
    hanging: Collection[str] = ()
    unwritable: Mapping[str, float] = field(default_factory=dict[str, float])
    losses: Iterable[tuple[float, int]] = ()
    overlaps: bool = False
    timing: Timing = Timing()
    shard_seconds: ShardSeconds = ten_seconds
    rows: int = 100
    seconds_busy: float = 0.0
    tried: dict[str, int] = field(default_factory=dict[str, int])
    starts: Counter[int] = field(default_factory=Counter[int])
    queued: int = 0

    def __post_init__(self) -> None:
        self._clock = 0.0
        self._random = Random(0)
        self._serial = count(1)
        self._actors: list[SimulatedActor] = []
        self._dead: dict[int, float] = {}
        self._losses = sorted(self.losses, reverse=True)
        self._events: list[tuple[float, int]] = []
        self._answers: dict[int, tuple[float, Answer]] = {}
        self._there: dict[int, Answer] = {}
        self._seated: set[SimulatedActor] = set()
        self._taken: Counter[int] = Counter()
        self._reach = 1
        self._loaded = 0

    def start_actor(self, avoided: Collection[str]) -> SimulatedActor:
        free = [node for node in range(self._reach) if self._taken[node] < ACTORS_PER_NODE]
        if not free:  # it waits for a node to join
            return SimulatedActor(-1, inf)
        node = next((node for node in free if str(node) not in avoided), free[0])
        self._reach = min(self.nodes, max(self._reach, node + 2))
        self._taken[node] += 1
        pid = 1_000_000 * next(self._serial)  # one more with each start
        actor = SimulatedActor(node, self._clock + self.timing.arrival, pid)
        self._actors.append(actor)
        self._seated.add(actor)
        return actor

    def place(self, actor: SimulatedActor) -> Call:
        actor.down = False
        return self._promise(actor, max(self._clock, actor.free_at), self._place(actor))

    def ready(self, actor: SimulatedActor) -> Call:
        flaw = self.flaws.get(actor.node)
        self.starts[actor.node] += 1
        begin = max(self._clock, actor.free_at)
        actor.free_at = begin + (0 if actor.is_loaded else self.timing.loading)
        if flaw == "hang":
            actor.free_at = inf
        if flaw == "die":
            actor.pid += 1
            crash = ActorFailure(
                kind=FailureKind.RESTARTING, reason="the worker died of its driver"
            )
            return self._promise(actor, actor.free_at, crash)
        if flaw == "raise":
            return self._promise(actor, actor.free_at, StartTrouble(reason="T4 has no bfloat16"))
        self._loaded += not actor.is_loaded
        actor.is_loaded = True
        return self._promise(actor, actor.free_at, Ready(place=self._place(actor)))

    def progress(self) -> Mapping[Place, ActorProgress] | None:
        return {
            self._place(actor): ActorProgress(int(self._clock) if actor.free_at < inf else 0, {})
            for actor in self._seated
        }

    def process(self, actor: SimulatedActor, task: Task) -> Call:
        crash = ActorFailure(kind=FailureKind.RESTARTING, reason="the worker died")
        begin = max(self._clock, actor.free_at)
        self.queued += begin > self._clock
        if actor.down:
            return self._promise(actor, begin, crash)
        if begin == inf:  # behind a hanging shard
            return self._promise(actor, inf, crash)
        if task.shard in self.deadly or task.shard in self.hanging:
            self.tried[task.shard] = self.tried.get(task.shard, 0) + 1
        if task.shard in self.deadly:
            self._unload(actor)
            actor.free_at = begin + self.timing.restart
            return self._promise(actor, begin + _CRASH_IS_NOTICED, crash)
        if begin < self.unwritable.get(task.shard, 0):
            full = ShardTrouble(reason="No space left on device", may_pass=True)
            return self._promise(actor, begin, full)
        seconds = self.shard_seconds(self._random, self._loaded)
        if task.shard in self.hanging:
            seconds = inf
        else:
            self.seconds_busy += seconds
        actor.free_at = begin + seconds
        return self._promise(actor, actor.free_at, _report(task, self.rows))

    def restart(self, actor: SimulatedActor) -> None:
        self._kill(actor, self._clock + _CRASH_IS_NOTICED, self._clock + self.timing.restart)

    def stop(self, actor: SimulatedActor) -> None:
        if actor in self._seated:
            self._seated.remove(actor)
            self._taken[actor.node] -= 1
        self._kill(actor, self._clock, inf)

    def wait(self, calls: Collection[Call], seconds: float) -> Collection[Call]:
        deadline = self._clock + seconds
        while not (found := [call for call in self._there if call in calls]):
            if not self._events or self._events[0][0] > deadline:
                self._advance(deadline)
                break
            due, call = heapq.heappop(self._events)
            self._advance(due)
            if call in self._answers and self._answers[call][0] == due:
                _, self._there[call] = self._answers.pop(call)
        return found

    def answer(self, call: Call) -> Answer:
        assert isinstance(call, int)
        return self._there.pop(call)

    def live_nodes(self) -> set[str]:
        gone = {node for node, noticed in self._dead.items() if noticed <= self._clock}
        return {str(actor.node) for actor in self._actors} - {str(node) for node in gone}

    def memory_trouble(self) -> str | None:
        return None

    def now(self) -> float:
        return self._clock

    def _place(self, actor: SimulatedActor) -> Place:
        return Place(node_id=str(actor.node), gpu_ids=("0",), pid=actor.pid)

    def _promise(self, actor: SimulatedActor, due: float, answer: Answer) -> int:
        call = next(self._serial)
        actor.pending = [*(old for old in actor.pending if old in self._answers), call]
        self._schedule(call, due, answer)
        return call

    def _schedule(self, call: int, due: float, answer: Answer) -> None:
        self._answers[call] = due, answer
        if due < inf:
            heapq.heappush(self._events, (due, call))

    def _kill(self, actor: SimulatedActor, noticed: float, back: float) -> None:
        for call in actor.pending:
            if call in self._answers:
                reason = ActorFailure(kind=FailureKind.RESTARTING, reason="the worker was killed")
                self._schedule(call, noticed, reason)
        self._unload(actor)
        actor.free_at = back

    def _unload(self, actor: SimulatedActor) -> None:
        self._loaded -= actor.is_loaded
        actor.down, actor.is_loaded = True, False
        actor.pid += 1

    def _advance(self, to: float) -> None:
        while self._losses and self._losses[-1][0] <= to:
            when, node = self._losses.pop()
            self._clock = max(self._clock, when)
            self._dead[node] = when + _LOSS_IS_NOTICED
            for actor in self._actors:
                if actor.node == node:
                    self._kill(actor, when + _LOSS_IS_NOTICED, when + self.timing.new_node)
                    actor.node += 10**6  # a new node, which nobody has lost yet
        self._clock = max(self._clock, to)


def _report(task: Task, rows: int) -> ShardReport:
    return ShardReport(shard=task.shard, rows=rows, sketch=_SKETCH)
