"""A standard CLIP beside the score: its columns and embeddings, row for row, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from shardsift import Scorer, StandardClip, annotate_shards
from shardsift.annotations import annotate as module
from shardsift.cli.app import main
from shardsift.columns import Column
from shardsift.errors import ConfigError, InputError, OutputError
from shardsift.measures import Measure, Picture, Tower
from shardsift.outputs.sealed_table import read_footer
from shardsift.scoring.questions import questions_of
from shardsift.verification.outputs import claim_output, verify
from tests.fakes import FakeScorer
from tests.outputs import annotation_files, kept_rows
from tests.samples import encoded, write_tar
from tests.shardsift.annotations.asked import ask_here

PICTURES = [encoded(seed=seed) for seed in range(3)]
FILES = [
    *(("a.jpg", PICTURES[0]), ("a.txt", b"a caption\nof two lines")),
    *(("b.jpg", PICTURES[1]), ("b.txt", b"")),
    *(("c.jpg", PICTURES[1][:60]), ("c.txt", b"a caption of nothing")),
    *(("d.jpg", PICTURES[2]), ("d.json", b'{"alt": {"en": "word"}}')),
    *(("e.jpg", PICTURES[0]), ("e.txt", b"word " * 200), ("e.json", b'{"alt": {"en": [1]}}')),
    ("f.txt", b"no picture"),
]


class FakeTower(Measure):
    """Asked in batches of five: the mean of a picture and the length of its caption."""

    name = "fake"
    needs: Sequence[str] = ("pixels", "text")
    columns: Sequence[Column] = (
        Column(name="fake_mean", type="float32", meaning="mean of all pixels"),
        Column(name="fake_length", type="int32", meaning="length of the caption"),
    )
    batch_size = 5
    keeps_embeddings = True

    @property
    def tower(self) -> Tower:
        return Tower(values=2, digest="0" * 16, meaning="made up")

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def prepare(self, picture: Picture) -> float:
        assert picture.pixels is not None
        return float(picture.pixels.mean())

    def measure(self, batch: Any) -> Sequence[Any]:
        self.sizes.append(len(batch))
        means = [mean for mean, _ in batch]
        lengths = [None if caption is None else len(caption) for _, caption in batch]
        return means, lengths, np.array([[mean, 1] for mean in means], np.float16)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    write_tar(tmp_path / "in" / "0.tar", FILES)
    return tmp_path / "in"


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return pq.ParquetFile(folder / "0.parquet").read().to_pylist()


def troubles(folder: Path) -> list[str]:
    return [problem.trouble for problem in verify(claim_output(str(folder))).problems]


@pytest.mark.parametrize("crops", ["paper", "fast", "global"])
def test_the_score_does_not_change_by_a_bit(crops: Any, shards: Path, tmp_path: Path) -> None:
    scorer = Scorer("compact", crop_plan=crops, batch_size=16, embeddings=True)
    annotate_shards(shards, scorer, tmp_path / "plain")
    clip = StandardClip("compact", embeddings=True)
    annotate_shards(shards, scorer, tmp_path / "out", measures=[clip])
    with_clip, plain = rows_of(tmp_path / "out"), rows_of(tmp_path / "plain")
    further = {"clip_score", "clip_text_cut"}
    assert [{n: v for n, v in row.items() if n not in further} for row in with_clip] == plain
    told = [(row["clip_score"] is None, row["clip_text_cut"]) for row in with_clip]
    without = (True, None)
    assert told == [(False, False), without, without, without, (False, True), without]
    for tower in ("clip", "maclip"):
        found = np.load(tmp_path / "out" / "_embeddings" / tower / "0.npy")
        assert found.any(axis=1).tolist() == [True, True, False, True, True, False]
    mine, its = (read_footer(str(tmp_path / name / "0.parquet")) for name in ("out", "plain"))
    assert mine.contents.fingerprint == its.contents.fingerprint
    assert mine.embeddings["maclip"] == its.embeddings["maclip"]
    assert mine.embeddings["clip"].tower == clip.tower.digest
    assert troubles(tmp_path / "out") == []


def test_rows_wait_for_whole_batches_and_stay_in_order(tmp_path: Path) -> None:
    files = [(f"{n:04}.jpg", PICTURES[n % 3]) for n in range(43)]
    files += [(f"{n:04}.txt", b"x" * n) for n in range(43) if n % 2]
    write_tar(tmp_path / "in" / "0.tar", sorted(files))
    fake = FakeTower()
    annotate_shards(tmp_path / "in", FakeScorer(), tmp_path / "out", measures=[fake])
    assert all(size % 5 == 0 for size in fake.sizes[:-1])
    assert sum(fake.sizes) == 43
    rows = rows_of(tmp_path / "out")
    assert [row["fake_length"] for row in rows] == [n if n % 2 else None for n in range(43)]
    means = np.load(tmp_path / "out" / "_embeddings" / "fake" / "0.npy")[:, 0]
    np.testing.assert_allclose([row["fake_mean"] for row in rows], means, rtol=1e-3)
    assert len({row["fake_mean"] for row in rows}) == 3
    assert troubles(tmp_path / "out") == []


def test_row_groups_wait_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROW_GROUP_ROWS", 7)
    write_tar(tmp_path / "in" / "0.tar", [(f"{n:04}.jpg", PICTURES[n % 3]) for n in range(46)])
    annotate_shards(tmp_path / "in", FakeScorer(), tmp_path / "out", measures=[FakeTower()])
    rows = rows_of(tmp_path / "out")
    assert [row["key"] for row in rows] == [f"{n:04}" for n in range(46)]
    assert len({row["fake_mean"] for row in rows[::3]}) == 1
    assert None not in {row["fake_mean"] for row in rows}


def test_a_kill_between_embeddings_and_annotation_leaves_nothing_wrong(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    annotate_shards(shards, FakeScorer(), tmp_path / "whole", measures=[FakeTower()])
    written: list[str] = []
    commit = module.commit

    def killed(url: str, *rest: Any) -> None:
        if url.endswith(".parquet"):
            raise Killed
        written.append(url)
        commit(url, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(module, "commit", killed)
        with pytest.raises(Killed):
            annotate_shards(shards, FakeScorer(), tmp_path / "out", measures=[FakeTower()])
    assert [Path(url).parts[-3:] for url in written] == [("_embeddings", "fake", "0.npy")]
    annotate_shards(shards, FakeScorer(), tmp_path / "out", measures=[FakeTower()])
    assert annotation_files(tmp_path / "out") == annotation_files(tmp_path / "whole")
    assert troubles(tmp_path / "out") == []


def test_captions_of_a_field_and_those_that_are_no_text(shards: Path, tmp_path: Path) -> None:
    class OfAlt(FakeTower):
        caption = "alt.en"

    (report,) = annotate_shards(shards, FakeScorer(), tmp_path / "out", measures=[OfAlt()])
    assert [row["fake_length"] for row in rows_of(tmp_path / "out")] == [None] * 3 + [4, None, None]
    assert report.passed_over["no_texts"] == 1  # pyright: ignore


def test_another_caption_in_the_same_output_is_refused(shards: Path, tmp_path: Path) -> None:
    annotate_shards(shards, FakeScorer(), tmp_path / "out", measures=[StandardClip("compact")])
    other = StandardClip("compact", caption="alt.en")
    with pytest.raises(OutputError, match=r"with other clip \(caption: txt there, alt\.en here\)"):
        annotate_shards(shards, FakeScorer(), tmp_path / "out", measures=[other])


def test_attributes_may_be_asked_of_the_clip(tmp_path: Path) -> None:
    names = [f"{n}.jpg" for n in range(19)]
    write_tar(tmp_path / "in" / "0.tar", [(n, encoded(seed=s)) for s, n in enumerate(names)])
    clip = StandardClip("compact", embeddings=True)
    pair = ("a picture with words", "a picture without words")
    questions = questions_of(clip.model, {"text": (pair,)}, "clip")
    scores = tmp_path / "scores"
    annotate_shards(tmp_path / "in", FakeScorer(), scores, measures=[clip, questions])
    found = pq.read_table(scores / "0.parquet")["attr_text"].to_numpy()
    assert clip.model.text
    text_2D = clip.model.text.encode([pair])[0].numpy()
    unit_ND = np.load(scores / "_embeddings" / "clip" / "0.npy").astype(np.float64)
    unit_ND /= np.linalg.norm(unit_ND, axis=1, keepdims=True)
    logits_N2 = clip.model.logit_scale * unit_ND @ text_2D.T
    expected = 1 / (1 + np.exp(logits_N2[:, 1] - logits_N2[:, 0]))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    ask_here(scores, tmp_path / "answers", f"text={'|'.join(pair)}", attribute_of="clip")
    answers = pq.read_table(tmp_path / "answers" / "0.parquet")["attr_text"].to_numpy()
    np.testing.assert_allclose(answers, found, atol=1e-6)
    assert troubles(scores) == troubles(tmp_path / "answers") == []
    others = {"pretrained": "random", "model": "ViT-S-32-alt"}
    with pytest.raises(ConfigError, match="these are not the weights that made"):
        ask_here(scores, tmp_path / "more", "a=b|c", attribute_of="clip", **others)
    with pytest.raises(InputError, match="has no embeddings of maclip"):
        ask_here(scores, tmp_path / "more", "a=b|c")


# --- on the command line -------------------------------------------------------------------------


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--caption", "text"], "--caption needs --clip"),
        (["--clip-pretrained", "openai"], "--clip-pretrained needs --clip"),
        (["--embeddings", "clip"], "there is no such tower; name one with --clip"),
        (
            ["--clip", "compact", "--embeddings", "b32"],
            "there is no such tower; known: maclip, clip",
        ),
        (
            ["--clip", "ViT-B32"],
            "--clip ViT-B32: open_clip has no such model; did you mean ViT-B-32?",
        ),
        (["--clip", "compact", "--clip-pretrained", "x"], "--clip compact has its own weights"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], says: str, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["score", shards, "--output", tmp_path / "out", "--config", "laptop", "--dry-run"]
    assert run(*base, *words) == 2
    told = capsys.readouterr().err.strip()
    assert says in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("measures", "says"),
    [
        ("  b32: {pretrained: openai}\n", "b32"),
        ("  b32: {model: ViT-B-32, captoin: x}\n", "captoin"),
        ("  B32: {model: ViT-B-32}\n", "a name has lower-case letters"),
        ("  maclip: {model: ViT-B-32}\n", "is none of attributes, hashes, maclip"),
        ("  atributes: {text: a|b}\n", "atributes"),
    ],
)
def test_mistakes_in_a_config_name_the_place(
    measures: str, says: str, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.yaml").write_text(f"model: compact\ngpus_per_actor: 0\nmeasures:\n{measures}")
    config = tmp_path / "run.yaml"
    assert run("score", shards, "--output", tmp_path / "out", "--config", config, "--dry-run") == 2
    told = capsys.readouterr().err.strip()
    assert "run.yaml" in told
    assert says in told
    assert "Traceback" not in told


def test_several_stand_by_name_and_a_second_run_has_nothing_to_do(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(
        "model: compact\ncrops: global\ngpus_per_actor: 0\nembeddings: [alt, clip]\n"
        "attribute_of: alt\nmeasures:\n"
        "  attributes: {text: words|no words}\n  clip: {model: compact}\n"
        "  alt: {model: compact, caption: alt.en}\n"
    )
    words = ["score", shards, "--output", tmp_path / "out", "--config", config]
    assert run(*words) == 0
    rows = rows_of(tmp_path / "out")
    assert [row["alt_score"] is None for row in rows] == [True] * 3 + [False, True, True]
    assert {path.name for path in (tmp_path / "out" / "_embeddings").iterdir()} == {"alt", "clip"}
    record = json.loads((tmp_path / "out" / "_run.json").read_text())
    assert record["embeddings"] == ["alt", "clip"]
    assert record["measures"]["attributes"]["needs"] == ["features:alt"]
    assert [row["attr_text"] is None for row in rows] == [False, False, True, False, False, True]
    assert troubles(tmp_path / "out") == []
    capsys.readouterr()
    assert run(*words) == 0
    told = "".join(capsys.readouterr())
    assert "nothing to do" in told
    assert "loading the weights" not in told
    kept = ["filter", tmp_path / "out", "--output", tmp_path / "kept", "--by", "clip_score"]
    assert run(*kept, "--keep-count", 1, "--where", "NOT clip_text_cut") == 0
    assert kept_rows(tmp_path / "kept") == {("0.tar", 0)}
