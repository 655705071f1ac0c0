"""Whether a run gives scores at all."""

from __future__ import annotations

from shardsift.config import RunConfig
from shardsift.engine.coordinator import Outcome
from shardsift.errors import EngineError, ErrorCode
from shardsift.records import ShardReport

_SHARDS = 3


class FirstScores:
    """Watches a run until it has given a score; stops it if its first shards give none."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._shards = 0
        self._is_settled = False

    def add(self, outcome: Outcome) -> None:
        """Take in the next shard.

        Raises:
            EngineError: if it is the third of those that have pictures, and not one picture of
                theirs has a finite score.
        """
        if self._is_settled or not isinstance(outcome, ShardReport):
            return
        not_finite = outcome.errors.get(ErrorCode.NON_FINITE, 0)
        self._is_settled = outcome.rows > sum(outcome.errors.values())
        self._shards += not_finite > 0
        if self._shards == _SHARDS and not self._is_settled:
            config = self._config
            raise EngineError(
                f"no picture of the first {_SHARDS} shards has a finite score: {config.model} "
                f"can't compute in {config.dtype}, or its weights are damaged; change --dtype or "
                "--pretrained, and pass --overwrite"
            )
