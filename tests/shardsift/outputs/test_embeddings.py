"""Embeddings always match their annotations, and other tools can read them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from embedding_reader import EmbeddingReader

from shardsift import annotate_shards
from shardsift.annotations import annotate as module
from shardsift.errors import OutputError
from shardsift.outputs.compaction import compact
from shardsift.outputs.run_folder import RunFolder
from shardsift.outputs.sealed_table import read_footer
from shardsift.records import FailedShard
from shardsift.shards.plan import plan_shards
from shardsift.verification.findings import repair
from shardsift.verification.outputs import claim_output, verify, verify_compacted
from tests.fakes import FakeScorer
from tests.outputs import annotation_files, edit_footer
from tests.samples import encoded, write_tar

FILES = [("a.jpg", encoded(seed=1)), ("b.jpg", encoded()[:60]), ("c.png", encoded("PNG", seed=3))]
VALUES = 8


class Embedding(FakeScorer):
    """A scorer that keeps features: 1 + quality, 2 + quality and so on."""

    embedding_values = VALUES


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    write_tar(tmp_path / "in" / "0.tar", FILES)
    write_tar(tmp_path / "in" / "more" / "1.tar", FILES[::-1])
    return tmp_path / "in"


@pytest.fixture
def scores(shards: Path, tmp_path: Path) -> Path:
    annotate_shards(shards, Embedding(), tmp_path / "out")
    return tmp_path / "out"


def embeddings_of(folder: Path, name: str = "0") -> Any:
    return np.load(folder / "_embeddings" / "maclip" / f"{name}.npy")


def all_files(folder: Path) -> dict[str, bytes]:
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.npy")
    }
    return files | annotation_files(folder)


def test_every_row_has_one_in_its_place_and_zeros_without_a_score(
    scores: Path, shards: Path, tmp_path: Path
) -> None:
    for name in ("0", "more/1"):
        rows_ND = embeddings_of(scores, name)
        table = pq.read_table(scores / f"{name}.parquet")
        assert (rows_ND.dtype, rows_ND.shape) == (np.float16, (3, VALUES))
        for row_D, quality in zip(rows_ND, table["quality"].to_pylist(), strict=True):
            grey = None if quality is None else quality / 0.75  # the mean of two crops
            expected = np.zeros(VALUES) if grey is None else 1 + np.arange(VALUES) + grey
            np.testing.assert_allclose(row_D, expected, rtol=1e-3)
    annotate_shards(shards, FakeScorer(), tmp_path / "plain")
    plain = pq.read_table(tmp_path / "plain" / "0.parquet")
    assert plain.equals(pq.read_table(scores / "0.parquet"))
    assert not (tmp_path / "plain" / "_embeddings" / "maclip").exists()


def test_embedding_reader_pairs_them_with_their_rows(scores: Path) -> None:
    reader: Any = EmbeddingReader(
        embeddings_folder=str(scores / "_embeddings" / "maclip"),
        metadata_folder=str(scores),
        file_format="parquet_npy",
        meta_columns=["shard", "key", "quality"],
    )
    ((found_ND, rows),) = reader(batch_size=100, show_progress=False)
    assert rows["shard"].tolist() == ["0.tar"] * 3 + ["more/1.tar"] * 3
    assert rows["key"].tolist() == ["a", "b", "c", "c", "b", "a"]
    expected = np.concatenate([embeddings_of(scores), embeddings_of(scores, "more/1")])
    np.testing.assert_array_equal(found_ND, expected)
    has_score_N = rows["quality"].astype(float).notna()
    np.testing.assert_array_equal(found_ND.any(axis=1), has_score_N)


def test_a_shard_without_samples_has_none_in_a_file_of_their_shape(tmp_path: Path) -> None:
    write_tar(tmp_path / "in" / "0.tar", [])
    annotate_shards(tmp_path / "in", Embedding(), tmp_path / "out")
    assert embeddings_of(tmp_path / "out").shape == (0, VALUES)
    assert troubles(tmp_path / "out") == []


def test_they_are_recorded_and_a_run_without_them_is_refused(shards: Path, scores: Path) -> None:
    assert json.loads((scores / "_run.json").read_text())["embeddings"] == ["maclip"]
    footer = read_footer(str(scores / "0.parquet"))
    assert footer.contents.fingerprint == FakeScorer.fingerprint
    assert footer.embeddings["maclip"].values == VALUES
    assert "no CLIP embedding" in footer.embeddings["maclip"].meaning
    before = all_files(scores)
    with pytest.raises(OutputError, match=r"with other embeddings \(maclip there, none here\)"):
        annotate_shards(shards, FakeScorer(), scores)
    assert all_files(scores) == before
    annotate_shards(shards, FakeScorer(), scores, overwrite=True)
    assert not list(scores.rglob("*.npy"))
    annotate_shards(shards, Embedding(), scores, overwrite=True)
    assert all_files(scores) == before


def test_an_old_annotation_never_stands_beside_new_embeddings(
    shards: Path, scores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does one go that knows them, for an equal run that is beside has just written it."""
    task = next(iter(plan_shards([str(shards)])))
    annotation = scores / "0.parquet"
    with monkeypatch.context() as patch:
        killed_before("0.npy", patch)
        with pytest.raises(Killed):
            module.annotate(task, Embedding(), str(scores))
        assert annotation.exists()
        write_tar(shards / "0.tar", FILES[:1])
        with pytest.raises(Killed):
            module.annotate(task, Embedding(), str(scores))
        assert not annotation.exists()


class Killed(BaseException):
    """In place of a power cut."""


def killed_before(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    commit: Callable[..., None] = module.commit

    def fail(url: str, *arguments: Any) -> None:
        if url.endswith(suffix):
            raise Killed
        commit(url, *arguments)

    monkeypatch.setattr(module, "commit", fail)


@pytest.mark.parametrize("suffix", ["0.npy", "0.parquet"])
def test_an_annotation_says_that_its_embeddings_are_there(
    suffix: str,
    shards: Path,
    scores: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        killed_before(suffix, patch)
        with pytest.raises(Killed):
            annotate_shards(shards, Embedding(), tmp_path / "new")
    assert not list((tmp_path / "new").rglob("*.parquet"))
    annotate_shards(shards, Embedding(), tmp_path / "new", overwrite=False)
    assert all_files(tmp_path / "new") == all_files(scores)
    assert troubles(tmp_path / "new") == []


def test_embeddings_whose_shard_was_given_up_are_swept(shards: Path, tmp_path: Path) -> None:
    """As after a process was killed between the two commits, and the tar was damaged since."""
    out = tmp_path / "new"
    (out / "_embeddings" / "maclip").mkdir(parents=True)
    np.save(out / "_embeddings" / "maclip" / "0.npy", np.ones((3, VALUES), np.float16))
    np.save(out / "_embeddings" / "maclip" / "mine.npy", np.ones(3))
    data = (shards / "0.tar").read_bytes()
    (shards / "0.tar").write_bytes(data[:700])
    outcomes = annotate_shards(shards, Embedding(), out)
    assert [type(outcome) for outcome in outcomes].count(FailedShard) == 1
    assert [path.name for path in sorted(out.rglob("*.npy"))] == ["mine.npy", "1.npy"]


def troubles(scores: Path) -> list[tuple[str, str]]:
    found = verify(claim_output(str(scores)))
    return [(problem.place, problem.trouble) for problem in found.problems]


def flipped(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


def saved(
    rows: int, value: float, dtype: type[np.generic] = np.float16
) -> Callable[[bytes], bytes]:
    file = io.BytesIO()
    np.save(file, np.full((rows, VALUES), value, dtype))
    return lambda _: file.getvalue()


HARMS: list[tuple[Callable[[bytes], bytes | None], str]] = [
    (lambda data: None, "its embeddings are missing"),
    (lambda data: flipped(data, -1), "have changed since they were written"),
    (lambda data: flipped(data, 100), "are damaged"),  # in the padding of the header
    (lambda data: flipped(data, 3), "are damaged"),
    (lambda data: b"", "are damaged"),
    (lambda data: data[:-2], "are damaged: they end early"),
    (lambda data: data + b"0", "more bytes follow"),
    (saved(2, 1.0), "have the shape (2, 8), not (3, 8)"),
    (saved(3, 1.0, np.float32), "don't begin like a NumPy array of float16"),
    (saved(3, 1.0), "zeros don't stand for rows without quality"),
    (saved(3, np.inf), "isn't finite"),
]


@pytest.mark.parametrize(("harm", "says"), HARMS)
def test_verify_finds_what_is_wrong_with_them_and_a_repair_makes_them_again(
    harm: Callable[[bytes], bytes | None], says: str, shards: Path, scores: Path
) -> None:
    assert troubles(scores) == []
    before = all_files(scores)
    path = scores / "_embeddings" / "maclip" / "0.npy"
    harmed = harm(path.read_bytes())
    path.unlink() if harmed is None else path.write_bytes(harmed)
    claim = claim_output(str(scores))
    found = verify(claim)
    assert says in found.problems[0].trouble
    assert found.problems[0].place == "0.tar"
    repair(claim.folder, found.problems)
    annotate_shards(shards, Embedding(), scores)
    assert all_files(scores) == before
    assert troubles(scores) == []


def test_verify_finds_embeddings_of_nothing(shards: Path, scores: Path) -> None:
    np.save(scores / "_embeddings" / "maclip" / "other.npy", np.ones((3, VALUES), np.float16))
    assert troubles(scores) == [("_embeddings/maclip/other.npy", "belongs to no shard of this run")]


def test_verify_knows_a_footer_that_tells_of_what_was_not_asked_for(
    shards: Path, tmp_path: Path
) -> None:
    annotate_shards(shards, FakeScorer(), tmp_path / "plain")
    made_up = {"values": VALUES, "sha256": "0" * 64, "tower": "0" * 16, "meaning": "made up"}
    told = json.dumps({"maclip": made_up})
    edit_footer(tmp_path / "plain" / "0.parquet", embeddings=told)
    trouble = "made with other embeddings (none there, maclip here)"
    assert any(trouble in told for _, told in troubles(tmp_path / "plain"))


def test_what_float16_cannot_hold_is_an_error_and_not_infinite(
    shards: Path, tmp_path: Path
) -> None:
    class Large(Embedding):
        def score(self, images: Any) -> Any:
            for score in super().score(images):
                score.embedding[0] = np.inf
                yield score

    outcomes = annotate_shards(shards, Large(), tmp_path / "out")
    assert [type(outcome) for outcome in outcomes] == [FailedShard, FailedShard]
    assert "the embedding of a is too large or too small for float16" in outcomes[0].reason  # pyright: ignore[reportAttributeAccessIssue]
    assert not list((tmp_path / "out").rglob("*.npy"))


def test_compacted_annotations_leave_them_where_they_are(scores: Path, tmp_path: Path) -> None:
    assert compact(str(scores), str(tmp_path / "few")).left_embeddings
    assert not list((tmp_path / "few").rglob("*.npy"))
    found = verify_compacted(RunFolder(str(tmp_path / "few")))
    assert (found.counts["rows checked"], found.problems) == (6, [])
