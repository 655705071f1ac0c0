"""Scored and filtered corpora for tests: real tars, annotations and keep-lists, without Ray."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from shardsift.config.filter_settings import FilterConfig
from shardsift.config.verb_settings import ReshardConfig
from shardsift.filtering.query import curate
from shardsift.resharding.new_shard import ReshardReport, write_shard
from shardsift.resharding.packing import ReshardTask
from shardsift.resharding.prepare import Reshard, prepare
from shardsift.shards.tar_samples import key_and_extension
from tests.fakes import FakeScorer
from tests.outputs import write_run
from tests.samples import File, encoded, write_tar

Files = list[tuple[str, bytes]]
"""Names and contents, in order."""


@dataclass(frozen=True)
class Corpus:
    """A folder of shards that were scored and filtered, and what becomes of them."""

    folder: Path

    @property
    def shards(self) -> Path:
        return self.folder / "in"

    @property
    def scores(self) -> Path:
        return self.folder / "scores"

    @property
    def kept(self) -> Path:
        return self.folder / "kept"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def filter(self, **rule: Any) -> None:
        values = {"annotations": str(self.scores), "output": str(self.kept), "overwrite": True}
        curate(FilterConfig.model_validate(values | rule))

    def prepare(self, **settings: Any) -> Reshard:
        values = {"keep": str(self.kept), "output": str(self.out)}
        return prepare(ReshardConfig.model_validate(values | settings))

    def reshard(self, **settings: Any) -> list[ReshardReport]:
        """Write all tars as `shardsift reshard` does, one after the other."""
        run = self.prepare(**settings)
        run.folder.begin(run.intent, run.plan)
        tasks = [task for task in run.plan if task.shard not in run.folder.committed]
        reports = [write_shard(run.inputs, task) for task in tasks]
        run.folder.finish(run.plan, reports)
        return reports

    def tasks(self, **settings: Any) -> tuple[list[ReshardTask], Callable[[ReshardTask], object]]:
        """The tasks of a run, and what writes one."""
        run = self.prepare(**settings)
        return list(run.plan), lambda task: write_shard(run.inputs, task)

    def kept_keys(self) -> list[str]:
        """In order; each once for every sample."""
        paths = sorted((self.kept / "keep-list").rglob("*.parquet"))
        return [key for path in paths for key in pq.read_table(path)["key"].to_pylist()]

    def written(self) -> Files:
        """All files of the new tars."""
        return [file for path in sorted(self.out.glob("*.tar")) for file in files_of(path)]


def make_corpus(folder: Path, shards: Sequence[Sequence[File]], **rule: Any) -> Corpus:
    """Score and filter shards that consist of these files."""
    corpus = Corpus(folder)
    for number, files in enumerate(shards):
        write_tar(corpus.shards / f"{number:05}.tar", files)
    return score(corpus, **rule)


def score(corpus: Corpus, **rule: Any) -> Corpus:
    """Score and filter a corpus."""
    write_run(corpus.shards, corpus.scores, FakeScorer())
    corpus.filter(**(rule or {"keep_top": 0.5}))
    return corpus


def sample(key: str, seed: int, *, with_json: bool = True) -> list[File]:
    """An image with a caption, as img2dataset writes them."""
    files = [(f"{key}.jpg", encoded(width=230, seed=seed)), (f"{key}.txt", f"say {key}".encode())]
    if with_json:
        files.insert(1, (f"{key}.json", b'{"uid": "%032x", "width": 230}' % seed))
    return files


def plain_corpus(folder: Path, shards: int = 3, samples: int = 6, **rule: Any) -> Corpus:
    """Small shards of ordinary samples; half of them are kept, if nothing else is asked for."""
    content = [
        [
            file
            for n in range(samples)
            for file in sample(f"{shard:02}{n:04}", 1 + shard * samples + n)
        ]
        for shard in range(shards)
    ]
    return make_corpus(folder, content, **rule)


def files_of(path: Path) -> Files:
    """Names and contents of a tar's files, read by Python."""
    with tarfile.open(path, errors="backslashreplace") as tar:
        files = [member for member in tar if member.isreg()]
        return [(member.name, extract(tar, member)) for member in files]


def extract(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = tar.extractfile(member)
    assert content is not None
    return content.read()


def key_of(name: str) -> str:
    parts = key_and_extension(name)
    assert parts is not None, name
    return parts[0]
