"""Processes on the cluster: actors that work on one shard per call, and a progress relay.

The relay is the only channel of progress. An actor on CPUs answers no call while it works, so a
thread of each actor reports every second to a small actor, which keeps the latest reports for the
driver. The same thread updates the metrics for Prometheus.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic
from typing import Any, Final, Protocol, cast

import ray
from ray.exceptions import RayError

from shardsift.engine.metrics import STEPS
from shardsift.errors import ShardError, ShardsiftError
from shardsift.progress import ActorProgress, Meter
from shardsift.redaction import clean

_REPORT_SECONDS = 1.0
_FRESH_SECONDS = 10.0

logger: Final = logging.getLogger(__name__)


class Task(Protocol):
    """Task of an actor; `shard` is its name, unique in a run."""

    @property
    def shard(self) -> str:
        """Its name below the output."""
        ...

    @property
    def url(self) -> str:
        """Location of the task's input."""
        ...


class ShardResult(Protocol):
    """Result of a task: counts only, no images and no rows."""

    @property
    def shard(self) -> str:
        """The task's name."""
        ...


class Work(Protocol):
    """Work of an actor. If its calls overlap, it is called in two threads."""

    def __call__(self, task: Any) -> ShardResult:
        """Do a task and commit its result. Raises ShardError if it can't be done."""
        ...

    @property
    def meter(self) -> Meter:
        """Counter of the work that is done; other threads read it."""
        ...


class ActorSpec(Protocol):
    """Recipe of an actor: its work, and the resources it takes."""

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
        """True if the actor prepares a shard while it works on another: two calls at a time."""
        ...

    def make_work(self) -> Work:
        """Load everything for the work; called once, in the actor's process."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Location of an actor."""

    node_id: str
    gpu_ids: tuple[str, ...]
    pid: int

    def __str__(self) -> str:
        gpus = f", GPU {' and '.join(self.gpu_ids)}" if self.gpu_ids else ""
        return f"node {self.node_id[:12]}{gpus}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """An actor is ready for work."""

    place: Place


@dataclass(frozen=True, kw_only=True, slots=True)
class StartTrouble:
    """An actor can't start on its node."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardTrouble:
    """A shard that could not be read or written; the actor itself is well.

    `may_pass` says that the cause is none of the shard's, and another try has to wait.
    """

    reason: str
    may_pass: bool = False


IN_FLIGHT = 2
"""Shards in an actor: one in progress, and one that waits, so that the actor always has work."""


class ShardActor:
    """Makes ready once, then works on one shard a call."""

    def __init__(self, folder: str) -> None:
        self._work: Work | None = None
        # Relative paths are relative to the command's folder. If this node lacks that folder, it
        # lacks its files, too, and the error of the first shard says so.
        with suppress(OSError):
            os.chdir(folder)
        handler = logging.StreamHandler()  # Ray writes it to a file of this process
        handler.addFilter(clean)
        logging.basicConfig(handlers=[handler])

    def place(self) -> Place:
        """Return the actor's location, before anything is loaded."""
        context = ray.get_runtime_context()
        return Place(
            node_id=context.get_node_id(),
            gpu_ids=tuple(context.get_accelerator_ids()["GPU"]),
            pid=os.getpid(),
        )

    def ready(self, spec: Sequence[Any], relay: Any) -> Ready | StartTrouble:
        """Answer once everything is loaded, or can't be, and report to the relay from then on.

        `spec` is a list of one reference to an `ActorSpec`, which is fetched here, so that an error
        on the way is reported, too.
        """
        try:
            if self._work is None:
                actor_spec: ActorSpec = ray.get(spec[0])
                self._work = actor_spec.make_work()
                _report_progress(relay, self.place(), self._work.meter)
        except Exception as error:  # reported as StartTrouble; another node is tried
            logger.debug("an actor can't start", exc_info=error)
            return StartTrouble(reason=describe(error))
        return Ready(place=self.place())

    def process(self, task: Task) -> ShardResult | ShardTrouble:
        """Do the work of a shard.

        Whatever else is raised leaves this process in doubt, and the coordinator restarts it.
        """
        assert self._work is not None, "work is given to actors that are ready"
        try:
            return self._work(task)
        except ShardError as error:
            return ShardTrouble(reason=error.problem, may_pass=error.may_pass)


def describe(error: BaseException) -> str:
    """Put an error into one line: what we raise on purpose says all, of others the type helps."""
    lines = str(error).splitlines() or [""]
    return lines[0] if isinstance(error, ShardsiftError) else f"{type(error).__name__}: {lines[0]}"


class _Relay:
    """Keeps the latest report of each actor. An actor itself, without a core of its own."""

    def __init__(self) -> None:
        self._latest: dict[Place, tuple[float, ActorProgress]] = {}

    def report(self, place: Place, progress: ActorProgress) -> None:
        """Take in an actor's report."""
        self._latest[place] = monotonic(), progress

    def read(self) -> Mapping[Place, ActorProgress]:
        """Return the reports of the last 10 s: an actor without one was killed, or is lost."""
        oldest = monotonic() - _FRESH_SECONDS
        self._latest = {place: told for place, told in self._latest.items() if told[0] >= oldest}
        return {place: progress for place, (_, progress) in self._latest.items()}


class ProgressRelay:
    """The driver's end of the channel."""

    def __init__(self) -> None:
        options: dict[str, Any] = {"num_cpus": 0, "max_restarts": -1}
        self.actor: Any = cast(Any, ray.remote)(**options)(_Relay).remote()
        self._reading: Any = None

    def read(self) -> Mapping[Place, ActorProgress] | None:
        """Return the reports that the last call asked for; None if there is no answer yet."""
        found: Mapping[Place, ActorProgress] | None = None
        if self._reading is not None:
            done, _ = ray.wait([self._reading], timeout=0)
            if not done:
                return None
            with suppress(RayError):  # the relay is restarted, perhaps on another node
                found = cast(dict[Place, ActorProgress], ray.get(self._reading))
        self._reading = self.actor.read.remote()
        return found


def _report_progress(relay: Any, place: Place, meter: Meter) -> None:
    """Report a meter every second, from a thread that ends with this process."""
    pause = Event()

    def report() -> None:
        steps = STEPS.make()
        counted = 0
        calls: list[Any] = []
        while True:
            progress = meter.read()
            if more := progress.steps - counted:
                steps.inc(more)
                counted += more
            if calls:  # one call at a time, should the relay be slow
                _, calls = ray.wait(calls, timeout=0)
            if not calls:
                calls = [relay.report.remote(place, progress)]
            pause.wait(_REPORT_SECONDS)

    Thread(target=report, name="progress", daemon=True).start()
