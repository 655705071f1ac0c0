"""Every verb, killed at a random moment beside a second one of its kind, and started once more: the
result is that of an undisturbed one, bit for bit.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from shardsift.cli.app import main
from shardsift.documents import DIGEST
from shardsift.outputs.compaction import compact
from tests.samples import as_parquet, as_pictures
from tests.shardsift.annotations.asked import TEXT, score_pictures
from tests.shardsift.resharding.corpora import Corpus, plain_corpus, score

pytestmark = pytest.mark.skipif(
    "SHARDSIFT_TEST_CHAOS" not in os.environ, reason="make chaos runs it: it takes minutes"
)

KILLS = int(os.environ.get("SHARDSIFT_TEST_KILLS", "20"))
"""Kills of each verb."""

SMALL = ["--samples-per-shard", "20", "--actors", "1"]
COMPACT = [
    *("--model", "compact", "--crops", "global", "--gpus-per-actor", "0"),
    *("--cpus-per-actor", "1", "--actors", "1"),
]
VERBS = {
    "filter": ["filter", "scores", "--keep-top", "0.5", "--emit", "keep-list,uids"],
    "compact": ["compact", "scores"],
    "reshard": ["reshard", "--keep", "kept", *SMALL],
    "ask": ["ask", "asking/out", "--attribute", TEXT, "--actors", "1"],
    "report": ["report", "scores"],
    "verify": ["verify", "scores", "--repair"],
    "score-rows": ["score", "rows/in", *COMPACT],
    "score-pictures": ["score", "pictures/in", *COMPACT],
    "reshard-rows": ["reshard", "--keep", "rows/kept", "--to", "parquet", *SMALL],
    "reshard-pictures": ["reshard", "--keep", "pictures/kept", *SMALL],
    "export": ["export", "rows/scores", "--into", "rows/in"],
}
OTHER_KINDS = {"score-rows", "score-pictures", "reshard-rows", "reshard-pictures", "export"}
"""Verbs on Parquet files and folders: the code is the same, so a quarter of the kills will do."""

TIMED = (
    *(b"duration", b'"seconds"', b'"images_per_second"', b'"busy"', b'"waiting"'),
    *(b'"manifest"', f'"{DIGEST}"'.encode()),
)
"""In lines of JSON that differ from run to run."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with scores and a keep-list of 60 shards, and a few that have embeddings."""
    corpus = plain_corpus(tmp_path_factory.mktemp("corpus"), shards=60, samples=4)
    score_pictures(corpus.folder / "asking")
    as_parquet(corpus.shards, corpus.folder / "rows" / "in")
    as_pictures(corpus.shards, corpus.folder / "pictures" / "in")
    for kind in ("rows", "pictures"):
        score(Corpus(corpus.folder / kind))
    return corpus.folder


def start(corpus: Path, command: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "shardsift", *command],
        cwd=corpus,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def contents(folder: Path) -> dict[str, bytes]:
    """All written files, without durations and the digests that depend on them."""
    found: dict[str, bytes] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        if path.name.endswith(("_stats.json", "_summary.json")):
            lines = data.splitlines()
            data = b"\n".join(line for line in lines if not any(word in line for word in TIMED))
        if path.suffix == ".arrow":  # its rows are in the order in which shards came to an end
            table = pa.ipc.open_file(data).read_all().drop_columns("seconds").sort_by("shard")
            data = repr(table.to_pylist()).encode()
        found[path.relative_to(folder).as_posix()] = data
    return found


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "verify"])
def test_a_killed_verb_goes_on_to_what_an_undisturbed_one_writes(verb: str, corpus: Path) -> None:
    undisturbed = corpus / f"{verb}-undisturbed"
    started = time.monotonic()
    run = start(corpus, [*VERBS[verb], "--output", str(undisturbed)])
    assert run.wait() == 0, run.stderr and run.stderr.read()
    seconds = time.monotonic() - started
    expected = contents(undisturbed)
    dice = random.Random(verb)
    differences: list[list[str]] = []
    refused = 0
    kills = max(KILLS // 4, 1) if verb in OTHER_KINDS else KILLS
    for number in range(kills):
        output = corpus / f"{verb}-{number}"
        command = [*VERBS[verb], "--output", str(output)]
        killed, beside = start(corpus, command), start(corpus, command)
        time.sleep(dice.uniform(0.4, 1.4) * seconds)  # two take longer than one
        killed.kill()
        killed.wait()
        assert beside.stderr
        said = beside.stderr.read()
        code = beside.wait()
        assert code == 0 or len(said.splitlines()) == 1, said
        refused += code != 0
        again = start(corpus, command)
        assert again.stderr
        said = again.stderr.read()
        again.wait()
        is_done = again.returncode == 0 or "--overwrite to replace" in said
        assert is_done, "the one beside may have come to its end; " + said
        found = contents(output)
        names = sorted(found.keys() | expected.keys())
        if different := [name for name in names if found.get(name) != expected.get(name)]:
            differences.append(different)
        shutil.rmtree(output)
    told = f"{kills} kills, {refused} refused, {len(differences)} differences"
    sys.stdout.write(f"\n{verb}: {told}\n")
    assert differences == []


def test_a_killed_repair_is_repaired_by_the_next(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = corpus / "scores"
    before, summary = contents(scores), (scores / "_summary.json").read_bytes()
    broken = sorted(scores.glob("[!_]*.parquet"))[::2]
    dice = random.Random("verify")
    for _ in range(KILLS):
        for path in broken:
            path.write_bytes(b"damaged")
        run = start(corpus, VERBS["verify"])
        time.sleep(dice.uniform(0.5, 2.5))
        run.kill()
        run.wait()
        monkeypatch.chdir(corpus)
        assert main(["verify", "scores", "--repair"]) == 1
        for path in broken:
            assert not path.exists()
            path.write_bytes(before[path.name])
        (scores / "_summary.json").write_bytes(summary)
        assert main(["verify", "scores"]) == 0
    assert contents(scores) == before


def test_two_compacts_at_once_leave_one_result(corpus: Path, tmp_path: Path) -> None:
    compact(str(corpus / "scores"), str(tmp_path / "undisturbed"))
    expected = contents(tmp_path / "undisturbed")
    for number in range(KILLS):
        output = tmp_path / f"few-{number}"
        command = ["compact", "scores", "--output", str(output), "--overwrite"]
        runs = [start(corpus, command) for _ in range(2)]
        codes = sorted(run.wait() for run in runs)
        assert codes in ([0, 0], [0, 2])
        assert contents(output) == expected
