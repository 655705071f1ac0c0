"""A run that is stopped, or run twice, gives the same bits as an undisturbed one.

A web server serves the shards, and holds one back until the test releases it, so every run is
    stopped at the same place.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from shardsift import annotate_shards
from shardsift.config import RunConfig
from shardsift.runs.scoring import load_maclip
from shardsift.storage.lease import RUNNING
from tests.fakes import FakeScorer, load_fake
from tests.held import Command, Web
from tests.outputs import write_run
from tests.samples import write_shards
from tests.shardsift.resharding.corpora import Corpus
from tests.shardsift.resharding.corpora import files_of as tar_files

SHARDS, SAMPLES = 20, 6
HELD = 10
"""The shard that is kept back: one actor commits as many before it."""

CHAOS = "SHARDSIFT_TEST_CHAOS" in os.environ
"""With the bundled model in place of the fake scorer."""
Files = dict[str, tuple[int, bytes]]
"""Modification time and content of each annotation, and of its embeddings."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    server = Web(write_shards(tmp_path_factory.mktemp("in"), SHARDS, SAMPLES), HELD)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def web(server: Web) -> Iterator[Web]:
    """The server with its gate shut."""
    server.shut_gate()
    yield server
    server.open_gate()


def start(web: Web, out: Path, *flags: str) -> Command:
    """A run as a process of its own."""
    # The fake scorer loads no torch, which would take most of the time.
    module = ["shardsift", "score", "--model", "compact"] if CHAOS else ["tests.command", "score"]
    options = ["--output", str(out), "--gpus-per-actor", "0", "--actors", "1"]
    options += ["--embeddings", "maclip"]
    return Command([*module, web.shards, *options, *flags])


def start_and_hold(web: Web, out: Path) -> Command:
    """A run that scores the held shard and has committed all before it."""
    run = start(web, out)
    run.until(lambda: web.asked.is_set() and len(annotations_in(out)) == HELD)
    return run


def annotations_in(out: Path) -> list[Path]:
    return list(out.glob("[!_]*.parquet"))


def files_of(out: Path) -> Files:
    paths = [*annotations_in(out), *out.glob("_embeddings/maclip/*.npy")]
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def contents(out: Path) -> dict[str, bytes]:
    return {name: content for name, (_, content) in files_of(out).items()}


@pytest.fixture(scope="module")
def undisturbed(server: Web, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Output of an undisturbed run."""
    out = tmp_path_factory.mktemp("undisturbed")
    server.open_gate()
    config = RunConfig(model="compact" if CHAOS else RunConfig().model, embeddings=("maclip",))
    scorer = (load_maclip if CHAOS else load_fake)(config).scorer(config, "cpu")
    annotate_shards(server.shards, scorer, out)
    return contents(out)


def test_a_second_run_is_refused_and_a_killed_one_goes_on(
    undisturbed: dict[str, bytes], web: Web, tmp_path: Path
) -> None:
    run = start_and_hold(web, tmp_path)
    second = start(web, tmp_path)
    assert second.end() == 2
    assert f"another command (process {run.process.pid} on" in second.log
    run.process.kill()
    run.end()
    assert not (tmp_path / "_summary.json").exists()
    before = files_of(tmp_path)
    web.open_gate()
    again = start(web, tmp_path)
    assert again.end() == 0, again.log
    after = files_of(tmp_path)
    assert {name: after[name] for name in before} == before, "a committed shard was scored twice"
    assert contents(tmp_path) == undisturbed
    tables = [pq.read_table(path, columns=["shard", "index"]) for path in annotations_in(tmp_path)]
    rows = [row for table in tables for row in table.to_pylist()]
    assert len({(row["shard"], row["index"]) for row in rows}) == len(rows) == SHARDS * SAMPLES
    assert (tmp_path / "_summary.json").exists()
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.skipif(not CHAOS, reason="make chaos runs it: 15 s")
def test_a_signal_lets_the_shard_under_way_finish(
    undisturbed: dict[str, bytes], web: Web, tmp_path: Path
) -> None:
    run = start_and_hold(web, tmp_path)
    run.process.send_signal(signal.SIGTERM)
    run.until(
        lambda: "stopping after the shards in progress; interrupt again to stop at once" in run.log
    )
    web.open_gate()
    assert run.end() == 130, run.log
    left = SHARDS - HELD - 1
    assert f"stopped; run the same command again for the other {left} shards" in run.log
    assert "Traceback" not in run.log
    assert f"{HELD:05}.parquet" in contents(tmp_path)
    assert contents(tmp_path).items() <= undisturbed.items()
    assert not (tmp_path / RUNNING).exists()
    assert not (tmp_path / "_summary.json").exists()


@pytest.mark.skipif(not CHAOS, reason="make chaos runs it: 15 s")
def test_a_second_signal_stops_at_once_and_says_how_to_go_on(web: Web, tmp_path: Path) -> None:
    run = start_and_hold(web, tmp_path)
    run.process.send_signal(signal.SIGINT)
    run.until(lambda: "interrupt again to stop at once" in run.log)
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 130, run.log
    assert "interrupted; run the same command again to resume" in run.log
    assert "Traceback" not in run.log
    assert len(annotations_in(tmp_path)) == HELD
    assert not (tmp_path / RUNNING).exists()


@pytest.mark.skipif(not CHAOS, reason="make chaos runs it: minutes")
def test_sigterm_at_any_moment_gives_130_and_the_next_run_goes_on(
    undisturbed: dict[str, bytes], web: Web, tmp_path: Path
) -> None:
    """While Ray starts, between its start and the first shard, and while results are written."""
    web.open_gate()
    dice, codes = random.Random(0), Counter[int]()
    for _ in range(20):
        run = start(web, tmp_path)
        time.sleep(dice.uniform(2, 12))
        run.process.send_signal(signal.SIGTERM)
        codes[run.end()] += 1
        assert "Traceback" not in run.log
        assert contents(tmp_path).items() <= undisturbed.items()
        if (tmp_path / "_summary.json").exists():
            shutil.rmtree(tmp_path)
            tmp_path.mkdir()
    sys.stdout.write(f"\nSIGTERM at any moment: exit codes {dict(codes)}\n")
    assert codes.keys() <= {0, 130}, "0 if it had come to its end before"


@pytest.mark.skipif(not CHAOS, reason="make chaos runs it: 40 s")
def test_a_second_run_is_harmless_if_forced(
    undisturbed: dict[str, bytes], web: Web, tmp_path: Path
) -> None:
    first = start_and_hold(web, tmp_path)
    forced = start(web, tmp_path, "--force")
    forced.until(lambda: f'"pid": {forced.process.pid}' in (tmp_path / RUNNING).read_text())
    web.open_gate()
    assert (first.end(), forced.end()) == (0, 0), first.log + forced.log
    assert contents(tmp_path) == undisturbed


@pytest.mark.skipif(not CHAOS, reason="make chaos runs it: 25 s")
def test_a_killed_reshard_goes_on_to_the_same_tars(web: Web, tmp_path: Path) -> None:
    corpus = Corpus(tmp_path)
    write_run(web.folder, corpus.scores, FakeScorer())
    corpus.filter(keep_top=1.0)
    corpus.reshard(shards=[str(web.folder)], samples_per_shard=12)  # undisturbed, and without Ray
    expected = tars_in(corpus.out)
    out = tmp_path / "killed"
    command = ["shardsift", "reshard", web.shards, "--keep", str(corpus.kept)]
    command += ["--output", str(out)]
    command += ["--samples-per-shard", "12", "--actors", "1"]
    run = Command(command)
    run.until(lambda: web.asked.is_set() and len(tars_in(out)) == HELD * SAMPLES // 12)
    run.process.kill()
    run.end()
    assert not (out / "sizes.json").exists()
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    assert 0 < len(before) < len(expected)
    web.open_gate()
    again = Command(command)
    assert again.end() == 0, again.log
    assert tars_in(out) == expected
    assert {path: path.stat().st_mtime_ns for path in before} == before, "written twice"
    names = [name for path in sorted(out.glob("*.tar")) for name, _ in tar_files(path)]
    assert len(names) == len(set(names)) == 2 * len(corpus.kept_keys()), "an image and its .json"
    assert json.loads((out / "sizes.json").read_text()).keys() == expected.keys()
    assert not list(out.rglob("*.tmp"))


def tars_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.tar")}


@pytest.mark.skipif(not CHAOS, reason="make chaos runs it: 10 s")
def test_a_signal_while_ray_forks_is_not_lost(tmp_path: Path) -> None:
    """Python drops the exceptions of signal handlers that run around a fork."""
    shards = write_shards(tmp_path / "in", 1, samples=1)
    script = (
        "import os, signal\nfrom shardsift.cli.app import command\n"
        "from tests.fakes import load_fake\n"
        "os.register_at_fork(before=lambda: os.kill(os.getpid(), signal.SIGTERM))\n"
        f"command(['score', {str(shards)!r}, '--output', {str(tmp_path / 'out')!r},"
        " '--gpus-per-actor', '0', '--actors', '1'], load=load_fake)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 130, done.stderr
