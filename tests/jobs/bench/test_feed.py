"""The cost of a picture in an actor is measured for any commit."""

import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from jobs.bench.feed import FeedConfig, check_out, measure
from shardsift.errors import InputError


def test_a_commit_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(InputError, match=r"--against nosuch: .*not a valid object name"):
        check_out("nosuch", tmp_path)


@pytest.mark.skipif("SHARDSIFT_TEST_BENCH" not in os.environ, reason="takes a minute: make feed")
def test_two_commits_are_measured_in_turn(tmp_path: Path):
    shown = io.StringIO()
    config = FeedConfig(
        against="HEAD",
        output=tmp_path,
        rounds=1,
        seconds=1,
        sizes=("128x96",),
        plans=("paper",),
    )
    measure(config, Console(file=shown, width=120))

    measured = json.loads((tmp_path / "feed.json").read_text())
    assert [(each["size"], each["plan"], each["code"]) for each in measured] == [
        ("128x96", "paper", "here"),
        ("128x96", "paper", "HEAD"),
    ]
    for each in measured:
        assert each["median"]["images_per_second"] > 0
        assert each["median"]["alone"].keys() == {"read", "decode", "rows"}
    assert "128x96 paper" in shown.getvalue()
