"""A run from shards to annotations, manifest and summary, with the fake scorer on real Ray."""

from __future__ import annotations

import io
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardsift import annotate_shards
from shardsift.cli.console import PlainConsole
from shardsift.cli.progress_line import showing_progress
from shardsift.cli.verbs.score import report_result
from shardsift.config import RunConfig
from shardsift.errors import ConfigError, EngineError, InputError, ModelError, OutputError
from shardsift.progress import Snapshot, TakeSnapshot
from shardsift.records import ImageScore, RgbImage
from shardsift.runs.score_run import LoadModel, ScoreResult, score
from shardsift.verification.outputs import claim_output, verify
from tests.fakes import FakeModel, FakeScorer, NotFinite, fake_score, load_fake
from tests.outputs import annotation_files
from tests.samples import as_pictures, encoded, write_shards, write_tar

pytestmark = pytest.mark.usefixtures("local_ray")


class Corpus:
    """A folder of shards, and the output of runs over it."""

    def __init__(self, folder: Path, shards: Path | None = None) -> None:
        self.shards = shards or write_shards(folder / "in", 4, samples=3)
        self.out = folder / "out"
        self.said = io.StringIO()

    def config(self, **settings: Any) -> RunConfig:
        values = {"shards": [str(self.shards)], "output": str(self.out), "actors": 2}
        return RunConfig.model_validate(values | {"gpus_per_actor": 0} | settings)

    def score(self, *, load: LoadModel = load_fake, **settings: Any) -> ScoreResult:
        return score(self.config(**settings), self.console, load)

    @property
    def console(self) -> PlainConsole:
        return PlainConsole(file=self.said, width=1000)

    def files(self) -> dict[str, tuple[int, bytes]]:
        """Modification time and content of each annotation."""
        paths = self.out.rglob("[!_]*.parquet")
        return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}

    def summary(self) -> dict[str, Any]:
        return json.loads((self.out / "_summary.json").read_text())

    def manifest(self) -> dict[str, Any]:
        rows = pa.ipc.open_file(self.out / "_manifest.arrow").read_all().to_pylist()
        return {row["shard"]: row for row in rows}


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path)


@pytest.fixture(scope="module")
def finished(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    corpus = Corpus(tmp_path_factory.mktemp("finished"))
    corpus.score()
    return corpus


@pytest.fixture
def scored(finished: Corpus, tmp_path: Path) -> Corpus:
    """The output of a finished run, a copy for each test; its shards are everybody's."""
    shutil.copytree(finished.out, tmp_path / "out")
    return Corpus(tmp_path, finished.shards)


def test_a_run_leaves_annotations_a_manifest_and_a_summary(corpus: Corpus) -> None:
    result = corpus.score()
    assert report_result(result, corpus.config(), corpus.console) == 0
    assert "scored 12 of 12 images in 4 shards" in corpus.said.getvalue()
    assert pq.read_table(corpus.out).num_rows == 12
    assert {shard: row["rows"] for shard, row in corpus.manifest().items()} == {
        f"{number:05}.tar": 3 for number in range(4)
    }
    summary = corpus.summary()
    assert (summary["shards"], summary["rows"], summary["scored"]) == (4, 12, 12)
    assert summary["seconds"] > 0
    assert list(summary["stage_seconds"]) == ["read", "decode", "score", "write"]
    for seconds in summary["stage_seconds"].values():
        assert seconds["busy"] > 0
        assert seconds["waiting"] > 0
    assert "sets the pace" in corpus.said.getvalue()


class Looking(PlainConsole):
    """Keeps all snapshots, and tells `Watched` how many kinds it has seen inside a shard."""

    def __init__(self, seen: Path) -> None:
        super().__init__(file=io.StringIO())
        self.seen: list[Snapshot] = []
        self._told = seen

    def show_progress(self, snapshot: TakeSnapshot) -> AbstractContextManager[None]:
        """Look as often as a terminal does."""
        return showing_progress(
            self, lambda: self._keep(snapshot()), is_drawn=False, log_seconds=(0.3, 0.3)
        )

    def _keep(self, shown: Snapshot) -> Snapshot:
        self.seen.append(shown)
        self._told.write_text("." * len(set(self.inside)))
        return shown

    @property
    def inside(self) -> list[int]:
        """Counts of images while the shard is scored."""
        return [shown.items for shown in self.seen if 0 < shown.items < 16]


class Watched(FakeScorer):
    """Goes on after five images once these have been seen."""

    def __init__(self, seen: Path) -> None:
        self._seen = seen

    def score(self, images: Iterable[RgbImage]) -> Iterator[ImageScore]:
        """Yield the fake scores."""
        for number, image in enumerate(images):
            end = time.monotonic() + 60
            while len(self._seen.read_text()) < number // 5:
                assert time.monotonic() < end, f"{number} images were never shown"
                time.sleep(0.05)
            yield fake_score(image)


def test_progress_is_shown_inside_a_shard(corpus: Corpus, tmp_path: Path) -> None:
    """A bar that counts shards stood still while a large one was scored."""
    seen = tmp_path / "seen"
    seen.write_text("")

    class WatchedModel(FakeModel):
        def scorer(self, config: RunConfig, device: str) -> Watched:
            return Watched(seen)

    one = write_shards(corpus.shards.parent / "one", 1, samples=16)
    looking = Looking(seen)
    score(corpus.config(shards=[str(one)]), looking, lambda _: WatchedModel("slow"))
    assert len(set(looking.inside)) >= 3
    assert looking.inside == sorted(looking.inside)
    last = looking.seen[-1]
    assert (last.doing, last.noun, last.notes) == ("scoring", "images", ["1 actor"])
    assert last.left is not None


def test_nothing_to_do_is_said_and_leaves_everything_alone(scored: Corpus) -> None:
    before = scored.files(), scored.summary()
    scored.score()
    assert "nothing to do: 4 shards annotated already" in scored.said.getvalue()
    assert (scored.files(), scored.summary()) == before


def test_another_configuration_is_refused_and_overwrite_replaces(scored: Corpus) -> None:
    before = scored.files()
    with pytest.raises(OutputError, match=r"box_cox_lambda: 0\.5 there, 0\.0 here"):
        scored.score(box_cox_lambda=0)
    assert scored.files() == before
    scored.score(box_cox_lambda=0, overwrite=True)
    assert json.loads((scored.out / "_run.json").read_text())["fingerprint"] == "fake-0"
    assert len(scored.files()) == 4


def test_attributes_and_hashes_go_with_a_run(corpus: Corpus) -> None:
    asked: dict[str, Any] = {"attribute": ("text=text|no text",), "hashes": "sha256,phash"}
    corpus.score(**asked)
    table = pq.read_table(corpus.out)
    for name in ("attr_text", "sha256", "phash"):
        assert table[name].null_count == 0
    before = corpus.files()
    corpus.score(**asked)
    assert "nothing to do" in corpus.said.getvalue()
    assert corpus.files() == before


def test_nothing_is_deleted_before_everything_is_checked(scored: Corpus) -> None:
    before = scored.files()
    scored.score(box_cox_lambda=0, overwrite=True, dry_run=True)
    with pytest.raises(ConfigError, match="the cluster holds 4"):
        scored.score(box_cox_lambda=0, overwrite=True, actors=99)
    assert scored.files() == before


def test_new_shards_are_scored_and_the_manifest_knows_all(corpus: Corpus) -> None:
    corpus.score(shards=[str(corpus.shards / "0000[01].tar")])
    before = corpus.files()
    corpus.score()
    after = corpus.files()
    assert len(after) == len(corpus.manifest()) == corpus.summary()["shards"] == 4
    assert {name: after[name] for name in before} == before


def test_a_run_that_died_before_its_manifest_is_made_whole_from_footers(scored: Corpus) -> None:
    for name in ("_manifest.arrow", "_summary.json"):
        (scored.out / name).unlink()
    scored.score()
    assert len(scored.manifest()) == 4
    assert scored.summary()["rows"] == 12


def test_a_failed_shard_is_recorded_listed_and_tried_again(corpus: Corpus) -> None:
    bad = corpus.shards / "00002.tar"
    whole = bad.read_bytes()
    bad.write_bytes(whole[:3000])
    result = corpus.score()
    assert report_result(result, corpus.config(), corpus.console) == 1
    assert "failed 00002.tar: " in corpus.said.getvalue()
    record = json.loads((corpus.out / "_failed" / "00002.json").read_text())
    assert (record["attempts"], record["url"]) == (3, str(bad))
    assert record["reason"].endswith("; whole samples before that: 0")
    assert corpus.manifest()["00002.tar"]["failed"]

    bad.write_bytes(whole)
    assert corpus.score().failed == []
    assert not (corpus.out / "_failed" / "00002.json").exists()
    assert corpus.summary()["failed_shards"] == 0


def test_shards_with_errors_are_scored_again_and_embeddings_keep_step(corpus: Corpus) -> None:
    bad = corpus.shards / "00001.tar"
    write_tar(bad, [("1.jpg", encoded()[:900])])
    corpus.score(embeddings="maclip")
    write_tar(bad, [("1.jpg", encoded()), ("2.jpg", encoded())])
    before = corpus.files()
    settings: list[dict[str, Any]] = [{"rescore": "errors"}, {"overwrite": True}]
    for again in settings:
        corpus.score(embeddings="maclip", **again)
        changed = {name for name, file in corpus.files().items() if file != before[name]}
        assert changed == ({"00001.parquet"} if "rescore" in again else before.keys())
        rows_ND = np.load(corpus.out / "_embeddings" / "maclip" / "00001.npy")
        assert (rows_ND.shape, rows_ND.any()) == ((2, 4), True)
        assert verify(claim_output(str(corpus.out))).problems == []
    assert corpus.summary()["errors"]["truncated"] == 0
    with pytest.raises(OutputError, match=r"other embeddings \(maclip there, none here\)"):
        corpus.score()


def test_changed_shards_are_scored_again_when_asked(corpus: Corpus) -> None:
    corpus.score()
    before = corpus.files()
    write_tar(corpus.shards / "00003.tar", [("new.jpg", encoded())])
    corpus.score()
    assert corpus.files() == before
    corpus.score(rescore="changed")
    changed = {name for name, file in corpus.files().items() if file != before[name]}
    assert changed == {"00003.parquet"}


def test_new_pictures_in_a_folder_are_scored_unasked(tmp_path: Path) -> None:
    pictures = as_pictures(write_shards(tmp_path / "tars", 3, samples=2), tmp_path / "in")
    corpus = Corpus(tmp_path, pictures)
    corpus.score()
    assert corpus.score().counts.shards == 0
    (pictures / "00001" / "new.jpg").write_bytes(encoded(seed=9))
    assert corpus.score().counts.shards == 1
    assert corpus.manifest()["00001/00000.pictures"]["rows"] == 3
    assert corpus.summary()["rows"] == 7


def test_a_corpus_that_has_moved_is_compared_by_its_sizes(corpus: Corpus) -> None:
    corpus.score()
    before = corpus.files()
    moved = corpus.shards.rename(corpus.shards.with_name("moved"))
    for tar in moved.iterdir():
        os.utime(tar, (1, 1))
    there: dict[str, Any] = {"shards": [str(moved)]}
    with pytest.raises(
        OutputError, match="has moved there, name its folder and pass --rescore changed"
    ):
        corpus.score(**there)
    write_tar(moved / "00002.tar", [("new.jpg", encoded())])
    corpus.score(**there, rescore="changed")
    changed = {name for name, file in corpus.files().items() if file != before[name]}
    assert changed == {"00002.parquet"}
    assert corpus.manifest()["00002.tar"]["rows"] == 1
    after = corpus.files()
    corpus.score(**there, rescore="changed")
    corpus.score(**there)
    assert corpus.files() == after, "the new place is recorded, and that times say nothing there"
    assert verify(claim_output(str(corpus.out)), recount=True).problems == []


def test_another_corpus_of_equal_names_is_not_taken_for_the_one_that_moved(
    scored: Corpus, tmp_path: Path
) -> None:
    write_tar(tmp_path / "other" / "x.tar", [("1.jpg", encoded())])
    with pytest.raises(InputError, match="has none of the shards that were scored below"):
        scored.score(shards=[str(tmp_path / "other")], rescore="changed")


def test_a_dry_run_checks_everything_and_writes_nothing(corpus: Corpus) -> None:
    corpus.score(dry_run=True)
    assert "would score 4 of 4 shards with 2 actors" in corpus.said.getvalue()
    assert not list(corpus.out.rglob("*"))


def test_actors_and_batches_change_no_byte(scored: Corpus) -> None:
    first = {name: content for name, (_, content) in scored.files().items()}
    scored.score(overwrite=True, actors=1, decode_workers=2, batch_size=1)
    assert {name: content for name, (_, content) in scored.files().items()} == first


def test_a_run_without_ray_writes_the_same_files(scored: Corpus, tmp_path: Path) -> None:
    scorer = load_fake(scored.config()).scorer(scored.config(), "cpu")
    annotate_shards(str(scored.shards), scorer, str(tmp_path / "here"))
    assert annotation_files(tmp_path / "here") == annotation_files(scored.out)


def no_model(config: RunConfig) -> FakeModel:
    raise ModelError("the hub answers nobody")


def test_no_model_is_loaded_for_nothing(scored: Corpus) -> None:
    assert scored.score(load=no_model).counts.shards == 0
    assert "nothing to do: 4 shards annotated already" in scored.said.getvalue()


@pytest.mark.parametrize(
    "settings", [{"overwrite": True}, {"crops": "fast"}, {"rescore": "errors"}]
)
def test_a_model_is_loaded_if_it_may_be_needed(scored: Corpus, settings: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="the hub answers nobody"):
        scored.score(load=no_model, **settings)


def test_other_weights_in_the_same_file_are_noticed(corpus: Corpus, tmp_path: Path) -> None:
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"some")
    corpus.score(pretrained=str(weights))
    corpus.score(pretrained=str(weights), load=no_model)
    weights.write_bytes(b"else")
    with pytest.raises(ModelError, match="the hub answers nobody"):
        corpus.score(pretrained=str(weights), load=no_model)


def test_auto_is_float32_on_cpus_and_recorded_so(corpus: Corpus) -> None:
    corpus.score(dtype="auto")
    assert json.loads((corpus.out / "_run.json").read_text())["config"]["dtype"] == "float32"
    assert corpus.score(load=no_model).counts.shards == 0, "it is the default by another name"


def test_a_run_whose_first_shards_have_no_finite_score_stops(corpus: Corpus) -> None:
    class Broken(FakeModel):
        def scorer(self, config: RunConfig, device: str) -> NotFinite:
            return NotFinite()

    with pytest.raises(EngineError, match="no picture of the first 3 shards has a finite score"):
        corpus.score(load=lambda _: Broken("broken"), actors=1)
    assert not (corpus.out / "_summary.json").exists()
    assert len(corpus.files()) <= 4
