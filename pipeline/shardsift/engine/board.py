"""What actors tell of the shards that they have under way, for whoever watches the run.

Beside the calls for shards: an actor on CPUs hears nothing while it works, so it tells by itself,
from a thread of its own. Nothing depends on it: what is not told is not shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Event, Thread
from time import monotonic
from typing import Any, cast

import ray
from ray.exceptions import RayError

from shardsift.progress import Meter, Part, Parts

_TELL_SECONDS = 1.0
_FRESH_SECONDS = 10.0
_READ_SECONDS = 3.0


class _Board:
    """Keeps what each actor told last. An actor itself, without a core of its own."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[float, Mapping[str, Part]]] = {}

    def tell(self, actor: str, parts: Mapping[str, Part]) -> None:
        """Take in what an actor has under way."""
        self._told[actor] = monotonic(), parts

    def read(self) -> Parts:
        """Return what was told lately: who is silent was killed, or is lost."""
        oldest = monotonic() - _FRESH_SECONDS
        self._told = {actor: told for actor, told in self._told.items() if told[0] >= oldest}
        return {actor: parts for actor, (_, parts) in self._told.items()}


class Board:
    """A board on the cluster; made by the driver."""

    def __init__(self) -> None:
        options: dict[str, Any] = {"num_cpus": 0, "max_restarts": -1}
        self.actor = cast(Any, ray.remote)(**options)(_Board).remote()

    def read(self) -> Parts:
        """Return what actors told lately; nothing if the board doesn't answer."""
        try:
            return ray.get(self.actor.read.remote(), timeout=_READ_SECONDS)
        except RayError:
            return {}


def tell_board(board: Any, meter: Meter) -> None:
    """Tell a board every second what is under way, from a thread that ends with this process."""
    actor = ray.get_runtime_context().get_actor_id()
    pause = Event()

    def tell() -> None:
        told: list[Any] = []
        while True:
            if told:  # one call at a time, should the board be slow
                _, told = ray.wait(told, timeout=0)
            if not told:
                told = [board.tell.remote(actor, meter.parts)]
            pause.wait(_TELL_SECONDS)

    Thread(target=tell, name="tell", daemon=True).start()
