"""A bar where somebody looks, lines where a file is written."""

from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console

from shardsift.engine.progress import count, show_progress
from shardsift.records import FailedShard, ShardReport, StageSeconds
from shardsift.runs.tally import ScoreTally

REPORT = ShardReport(shard="0.tar", rows=100, errors={"truncated": 3})
FAILED = FailedShard(shard="1.tar", url="/1.tar", reason="cut", attempts=3)


def run(console: Console) -> ScoreTally:
    tally = ScoreTally(shards_total=2)
    with show_progress(console, "scoring", 2) as show:
        for outcome in (REPORT, FAILED):
            tally.add(outcome)
            show(tally)
    return tally


def test_a_tally_counts_images_errors_and_failures() -> None:
    tally = run(Console(file=io.StringIO()))
    assert (tally.shards, tally.images, tally.errors, tally.failed) == (2, 100, 3, 1)


def test_the_stage_that_the_others_wait_for_is_named() -> None:
    tally = ScoreTally(shards_total=2)
    assert tally.pace == ""
    for decode in (StageSeconds(busy=18, waiting=2), StageSeconds(busy=20, waiting=0)):
        stages = {"decode": decode, "score": StageSeconds(busy=6, waiting=4)}
        tally.add(ShardReport(shard="0.tar", rows=1, stages=stages))
    assert tally.pace == "busy: decode 95%, score 60%; decode sets the pace"


def test_a_terminal_shows_shards_images_speed_and_failures() -> None:
    screen = io.StringIO()
    run(Console(file=screen, force_terminal=True, width=200))
    text = screen.getvalue()
    for part in ("2/2 shards", "100 images", "images/s", "3 without a score", "1 failed"):
        assert part in text


def test_a_file_gets_plain_lines(caplog: pytest.LogCaptureFixture) -> None:
    file = io.StringIO()
    with caplog.at_level(logging.INFO, "shardsift"):
        run(Console(file=file))
    assert file.getvalue() == ""
    assert "2/2 shards, 100 images" in caplog.messages[-1]
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 shards"), (1, "1 shard"), (9999, "9,999 shards")]
)
def test_numbers_agree_with_their_nouns(number: int, text: str) -> None:
    assert count(number, "shard") == text
