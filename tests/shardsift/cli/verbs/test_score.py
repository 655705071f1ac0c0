"""Last lines of `score`."""

from __future__ import annotations

import io

from shardsift.cli.console import PlainConsole
from shardsift.cli.verbs.score import report_result
from shardsift.config import RunConfig
from shardsift.engine.run_loop import RunResult
from shardsift.records import FailedShard
from shardsift.runs.score_run import ScoreCounts


def test_a_failed_shard_is_told_by_its_name_even_with_brackets() -> None:
    failed = FailedShard(shard="[red]/0.tar", url="/[red]/0.tar", reason="cut [/]", attempts=3)
    counts = ScoreCounts(shards_total=1)
    counts.add(failed)
    said = io.StringIO()
    result = RunResult(counts=counts, failed=[failed])
    assert report_result(result, RunConfig(output="out"), PlainConsole(file=said, width=200)) == 1
    assert "failed [red]/0.tar: cut [/]\n" in said.getvalue()
