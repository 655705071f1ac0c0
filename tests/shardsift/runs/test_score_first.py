"""A run that gives no scores stops after the first shards."""

from __future__ import annotations

import pytest

from shardsift.config import RunConfig
from shardsift.errors import EngineError
from shardsift.records import FailedShard, ShardReport
from shardsift.runs.score_run import FirstScores

BAD = ShardReport(shard="0.tar", rows=9, errors={"non_finite": 8, "truncated": 1})
GOOD = ShardReport(shard="1.tar", rows=9, errors={"non_finite": 8})
EMPTY = ShardReport(shard="2.tar", rows=2, errors={"missing_image": 2})
FAILED = FailedShard(shard="3.tar", url="/3.tar", reason="cut", attempts=3)


def test_three_shards_without_a_finite_score_stop_a_run() -> None:
    scores = FirstScores(RunConfig(dtype="bfloat16"))
    for outcome in (BAD, EMPTY, FAILED, EMPTY, EMPTY, BAD):
        scores.add(outcome)
    with pytest.raises(EngineError, match="RN50 can't compute in bfloat16, or its weights"):
        scores.add(BAD)


def test_one_score_is_enough() -> None:
    scores = FirstScores(RunConfig())
    for outcome in (BAD, BAD, GOOD, BAD, BAD, BAD):
        scores.add(outcome)
