"""Nothing of a stranger's reaches a terminal or a log with its escapes, whichever verb is asked."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardsift import annotate_shards
from shardsift.cli.app import main
from shardsift.cli.catalogue import VERBS
from shardsift.config import Given, fields_by_key, spelled
from tests.fakes import FakeScorer
from tests.outputs import edit_json
from tests.samples import encoded, write_tar

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp\u2066\x7f"
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores of pictures with hostile keys, a stranger's record, and a table to join."""
    folder = tmp_path_factory.mktemp("hostile")
    files = [(f"{HOSTILE}{n}.jpg", encoded(seed=n)) for n in range(4)]
    write_tar(folder / "in" / "0.tar", [*files, (f"{HOSTILE}4.jpg", b"no picture")])
    (folder / "in" / "1.tar").write_bytes(HOSTILE.encode() * 20)
    annotate_shards(folder / "in", FakeScorer(), folder / "scores")
    (folder / "scores" / f"{HOSTILE}.txt").write_text("x")
    keys = [f"{HOSTILE}{n}" for n in range(5)]
    table = {"key": keys, HOSTILE: [f"{HOSTILE}{n % 2}" for n in range(5)], "aes": [1.0] * 5}
    pq.write_table(pa.table(table), folder / f"{HOSTILE}.parquet")
    return folder


def said(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """All that a command prints and logs."""
    capsys.readouterr()
    root = logging.getLogger()
    before, root.handlers = root.handlers, []
    try:
        main(words)
    finally:
        root.handlers = before
    found = capsys.readouterr()
    return found.out + found.err


@pytest.mark.parametrize("verb", sorted(VERBS.keys() - {"doctor"}))  # which measures the machine
def test_whatever_is_typed(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every setting that takes text gets a hostile one, alone and with the others."""
    for key, field in fields_by_key(VERBS[verb].config).items():
        is_text = "str" in str(field.annotation) or "Path" in str(field.annotation)
        if not is_text or Given.IN_FILE in field.metadata or key in ("json", "output"):
            continue
        by_place = Given.BY_PLACE in field.metadata
        words = [verb, *([] if by_place else [spelled(key)]), HOSTILE]
        told = said(words, capsys)
        assert not OBEYED.search(told), (words, told)
    config = tmp_path / "hostile.yaml"
    config.write_text(json.dumps({HOSTILE: HOSTILE}))
    assert not OBEYED.search(said([verb, "--config", str(config)], capsys))


def test_what_stands_in_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores, table = str(folder / "scores"), str(folder / f"{HOSTILE}.parquet")
    kept = str(folder / "kept")
    filtering = ["filter", scores, "--keep-top", "1", "--join", table, "--overwrite"]
    commands: list[list[str]] = [
        ["verify", scores],
        ["stats", scores],
        [*filtering, "--output", kept, "--per", HOSTILE],
        [*filtering, "--output", kept, "--where", f"\"{HOSTILE}\" <> 'x'"],
        ["verify", kept],
        ["report", scores, "--output", str(folder / "page"), "--per", HOSTILE, "--join", table],
        ["compare", scores, scores],
        ["compact", scores, "--output", str(folder / "few")],
        ["explain", "--annotations", scores, "--key", f"{HOSTILE}9"],
        ["explain", "--annotations", scores, "--key", f"{HOSTILE}4"],
    ]
    for words in commands:
        told = said(words, capsys)
        assert told
        assert not OBEYED.search(told), (words, told)
        told = said([*words, "--json"], capsys)
        assert not OBEYED.search(told), (words, told)


def test_what_stands_in_records(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = folder / "scores"
    changes: dict[str, Any] = {"root": HOSTILE, "inputs": [HOSTILE], "version": HOSTILE}
    edit_json(scores / "_run.json", **changes)
    for words in (["verify"], ["report"], ["stats"], ["explain", "--key", "1", "--annotations"]):
        told = said([*words, str(scores)], capsys)
        assert not OBEYED.search(told), (words, told)
