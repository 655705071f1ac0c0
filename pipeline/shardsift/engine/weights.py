"""How much work shards are that nobody has read yet, by their kind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_NUMBERS = re.compile(r"\d+")


def kind_of(shard: str) -> str:
    """Name the kind of a shard: those whose paths differ by numbers alone are of one.

    It needs no other shard's name, as the prefixes of `stats` do: a million are never held.
    """
    return _NUMBERS.sub("", shard)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """All shards of a kind: their bytes, and how much work and how many items one of them is."""

    bytes: float
    work: float
    items: float


@dataclass(frozen=True, slots=True)
class Weights:
    """How much work a run is, by the kinds of its shards."""

    kinds: Mapping[str, Kind]

    @property
    def total(self) -> float:
        """The work of all shards; 0 if nobody has weighed it."""
        return sum(kind.bytes * kind.work for kind in self.kinds.values())

    def rate_of(self, kind: str) -> float:
        """Return the work that a byte of a kind is: one, if nobody has weighed it."""
        return self.kinds[kind].work if kind in self.kinds else 1.0

    def items_left(self, done: Mapping[str, float]) -> float:
        """Estimate the items that are left, if so many bytes of each kind are done."""
        return sum(
            max(0.0, kind.bytes - done.get(name, 0.0)) * kind.items
            for name, kind in self.kinds.items()
        )


UNWEIGHED = Weights({})
"""Of work that nobody has weighed: bytes count alike."""
