"""Attributes and hashes: columns of their own, recorded, verified, and never mixed up."""

from __future__ import annotations

import hashlib
import json
import os
import random
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from shardsift import annotate_shards
from shardsift.cli.app import main
from shardsift.columns import Column
from shardsift.config import Attributes
from shardsift.errors import ConfigError, InputError, OutputError
from shardsift.images.decode import decode_rgb
from shardsift.measures import Measure, Picture
from shardsift.outputs.compaction import compact
from shardsift.outputs.output_folder import OutputFolder
from shardsift.outputs.sealed_table import SCHEMA, read_footer
from shardsift.outputs.totals import read_stats
from shardsift.reporting.comparison import compare
from shardsift.verification.outputs import claim_output, verify
from tests.fakes import FakeScorer
from tests.outputs import annotation_files, edit_footer, edit_rows, kept_rows
from tests.samples import encoded, write_tar

TEXT: Attributes = {"text": (("text", "no text"),)}
FILES = [("a.jpg", encoded(seed=1)), ("b.jpg", encoded(seed=2)), ("c.jpg", encoded()[:60])]


class AskingScorer(FakeScorer):
    """A scorer that is asked more than one thing."""

    def __init__(self, attributes: Attributes = TEXT) -> None:
        self.attributes = attributes


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    write_tar(tmp_path / "in" / "0.tar", FILES)
    return tmp_path / "in"


@pytest.fixture
def scores(shards: Path, tmp_path: Path) -> Path:
    annotate_shards(shards, AskingScorer(), tmp_path / "out", hashes=["phash", "sha256"])
    return tmp_path / "out"


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return pq.ParquetFile(folder / "0.parquet").read().to_pylist()


def all_rows(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.glob("[!_]*.parquet"))
    return [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]


def test_they_are_columns_beside_the_same_scores(
    shards: Path, scores: Path, tmp_path: Path
) -> None:
    annotate_shards(shards, FakeScorer(), tmp_path / "plain")
    for row, plain, (_, data) in zip(
        rows_of(scores), rows_of(tmp_path / "plain"), FILES, strict=True
    ):
        assert row["sha256"] == hashlib.sha256(data).digest()
        if row["error"] is None:
            picture = Image.fromarray(decode_rgb(data, 10**6))
            assert row["phash"] == int(str(imagehash.phash(picture)), 16)
            assert row["attr_text"] == pytest.approx(1 - row["quality"])
        else:
            assert (row["phash"], row["attr_text"]) == (None, None)
        assert (plain["sha256"], plain["phash"]) == (None, None)
        hashes = {"sha256": None, "phash": None}
        assert {name: row[name] for name in plain} | hashes == plain
    assert set(rows_of(scores)[0]) - set(SCHEMA.names) == {"attr_text"}


def test_they_are_recorded_beside_the_fingerprint(scores: Path) -> None:
    footer = read_footer(str(scores / "0.parquet"))
    assert footer.contents.fingerprint == FakeScorer.fingerprint
    record = json.loads((scores / "_run.json").read_text())
    assert record["measures"]["attributes"]["settings"] == {"text": [["text", "no text"]]}
    assert record["measures"]["hashes"]["settings"] == ["phash", "sha256"]
    metadata = pq.read_schema(scores / "0.parquet").metadata
    told = json.loads(metadata[b"shardsift.measures"])
    assert {name: own["digest"] for name, own in told.items()} == footer.contents.digests
    assert footer.contents.digests["maclip"] == FakeScorer.fingerprint


@pytest.mark.parametrize(
    ("attributes", "hashes", "says"),
    [
        ({}, ["phash", "sha256"], r"with other attributes \(text: .*'no text'.* there, None here"),
        (
            {"text": (("text", "nothing"),)},
            ["phash", "sha256"],
            "with other attributes .*no text.*there.*nothing.*here",
        ),
        (TEXT, ["phash"], r"with other hashes \(hashes: .*'sha256'.* there, \['phash'\] here"),
    ],
)
def test_others_in_the_same_output_are_refused(
    attributes: Attributes, hashes: list[Any], says: str, shards: Path, scores: Path
) -> None:
    before = annotation_files(scores)
    with pytest.raises(OutputError, match=says):
        annotate_shards(shards, AskingScorer(attributes), scores, hashes=hashes)
    assert annotation_files(scores) == before
    annotate_shards(shards, AskingScorer(attributes), scores, hashes=hashes, overwrite=True)
    assert annotation_files(scores) != before


def test_the_same_ones_go_on(shards: Path, scores: Path) -> None:
    write_tar(shards / "1.tar", FILES)
    outcomes = annotate_shards(shards, AskingScorer(), scores, hashes=["sha256", "phash"])
    assert [outcome.shard for outcome in outcomes] == ["1.tar"]


def test_compacted_annotations_keep_them(scores: Path, tmp_path: Path) -> None:
    compact(str(scores), str(tmp_path / "few"))
    (file,) = (tmp_path / "few").glob("*.parquet")
    assert pq.ParquetFile(file).read().to_pylist() == rows_of(scores)
    read = OutputFolder(str(tmp_path / "few")).annotations.read("0.parquet")
    assert read.to_pylist() == rows_of(scores)


def test_a_folder_of_two_kinds_is_refused(shards: Path, scores: Path, tmp_path: Path) -> None:
    write_tar(tmp_path / "more" / "1.tar", FILES)
    annotate_shards(tmp_path / "more", FakeScorer(), tmp_path / "plain")
    (scores / "1.parquet").write_bytes((tmp_path / "plain" / "1.parquet").read_bytes())
    with pytest.raises(InputError, match=r"0\.parquet and 1\.parquet were made with other"):
        compact(str(scores), str(tmp_path / "few"))


def problems(scores: Path, *, recount: bool = False) -> str:
    found = verify(claim_output(str(scores)), recount=recount)
    return " ".join(problem.trouble for problem in found.problems)


@pytest.mark.parametrize(
    ("row", "changes", "says"),
    [
        (0, {"attr_text": None}, "a row with only one of crops and attr_text"),
        (0, {"phash": None}, "don't match the digest"),
        (2, {"attr_text": 0.5}, "a row with only one of crops and attr_text"),
        (0, {"attr_text": float("inf")}, "a attr_text that is not finite"),
        (1, {"phash": 1}, "don't match the digest"),
    ],
)
def test_verify_looks_at_them(row: int, changes: dict[str, Any], says: str, scores: Path) -> None:
    assert problems(scores) == ""
    edit_rows(scores / "0.parquet", lambda rows: rows[row].update(changes))
    assert says in problems(scores)


def test_a_recount_reads_the_images_again(shards: Path, scores: Path) -> None:
    assert problems(scores, recount=True) == ""
    stat = (shards / "0.tar").stat()
    data = bytearray((shards / "0.tar").read_bytes())
    data[data.index(FILES[1][1]) + 50] ^= 1
    (shards / "0.tar").write_bytes(data)
    os.utime(shards / "0.tar", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert "row 1 has a sha256 that differs from the tar's image" in problems(scores, recount=True)


def test_stats_tell_of_attributes_without_reading_a_row(
    shards: Path, scores: Path, tmp_path: Path
) -> None:
    write_tar(shards / "more" / "1.tar", [("d.png", encoded("PNG", seed=4)), ("e.jpg", b"")])
    annotate_shards(shards, AskingScorer(), scores, hashes=["phash", "sha256"])
    compact(str(scores), str(tmp_path / "few"))
    tables = [pq.ParquetFile(file).read() for file in sorted(scores.rglob("[!_]*.parquet"))]
    values = np.concatenate([table["attr_text"].drop_null().to_numpy() for table in tables])
    for folder in (scores, tmp_path / "few"):
        found = read_stats(str(folder))
        told = found.as_dict()["columns"]["attr_text"]
        assert told["mean"] == pytest.approx(values.mean())
        assert told["deviation"] == pytest.approx(values.std(), abs=1e-6)
        assert told["range"] == [pytest.approx(values.min()), pytest.approx(values.max())]
        assert len(found.groups) == 2
    assert problems(scores) == ""
    edit_footer(scores / "0.parquet", spreads='{"attr_text": [1, 1, 1, 0, 1]}')
    assert "the sums of columns in its footer" in problems(scores)


def test_compare_compares_them_too(shards: Path, scores: Path, tmp_path: Path) -> None:
    other = AskingScorer({"also": (("a", "b"),), **TEXT})  # the fake gives it half of 1 - quality
    annotate_shards(shards, other, tmp_path / "other")
    found = compare(str(scores), str(tmp_path / "other"), [0.5])
    (difference,) = found.attributes.values()
    text = np.array([row["attr_text"] for row in rows_of(scores)[:2]])
    assert difference.mean == pytest.approx(-text.mean() / 2, abs=1e-6)
    assert difference.max_absolute == pytest.approx(text.max() / 2, abs=1e-6)
    assert found.max_absolute == 0
    assert found.settings.keys() == {"attributes", "hashes"}


# --- a measure of one's own ----------------------------------------------------------------------


class Brightness(Measure):
    """The mean of all pixels."""

    name = "brightness"
    columns = (Column(name="brightness", type="float32", meaning="mean of all pixels, 0 to 255"),)

    def prepare(self, picture: Picture) -> float:
        assert picture.pixels is not None
        return float(picture.pixels.mean())


@pytest.fixture
def measured(shards: Path, tmp_path: Path) -> Path:
    write_tar(shards / "1.tar", [("d.png", encoded("PNG", seed=4))])
    annotate_shards(shards, FakeScorer(), tmp_path / "own", measures=[Brightness()])
    return tmp_path / "own"


def test_a_measure_of_ones_own_is_a_column_like_every_other(
    shards: Path, measured: Path, tmp_path: Path
) -> None:
    values = [row["brightness"] for row in rows_of(measured)]
    means = [decode_rgb(data, 10**6).mean() for _, data in FILES[:2]]
    assert values == [*map(pytest.approx, means), None]
    assert problems(measured) == ""
    whole = annotation_files(measured)
    with pytest.raises(OutputError, match="with other brightness"):
        annotate_shards(shards, FakeScorer(), measured)
    (measured / "1.parquet").unlink()
    annotate_shards(shards, FakeScorer(), measured, measures=[Brightness()], decode_workers=1)
    assert annotation_files(measured) == whole
    command = ["filter", str(measured), "--output", str(tmp_path / "kept"), "--keep-count", "1"]
    assert main([*command, "--by", "brightness", "--where", "brightness < 1000"]) == 0
    every = [(row["brightness"] or 0, row["shard"], row["index"]) for row in all_rows(measured)]
    assert kept_rows(tmp_path / "kept") == {max(every)[1:]}
    assert main(["report", str(measured), "--output", str(tmp_path)]) == 0
    assert '"name": "brightness"' in (tmp_path / "report.html").read_text()
    assert read_stats(str(measured)).total.spreads["brightness"].values == 3


def test_no_bit_of_its_file_changes_unnoticed(measured: Path) -> None:
    path, dice = measured / "0.parquet", random.Random(0)
    data = path.read_bytes()
    for bit in (dice.randrange(8 * len(data)) for _ in range(30)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        assert problems(measured), bit
    edit_rows(path, lambda rows: rows[0].update(brightness=1.0))
    assert "the sums of columns in its footer" in problems(measured)


def test_columns_stand_in_the_order_of_the_measures_names(shards: Path, tmp_path: Path) -> None:
    """And not in that in which they were given, or readers would take one for another."""

    class Early(Brightness):
        name = "aaa"
        columns = (Column(name="zzz", type="float64", meaning="the same"),)

    early = [Brightness(), Early()]
    annotate_shards(shards, AskingScorer(), tmp_path / "own", measures=early)
    assert problems(tmp_path / "own") == ""
    names = pq.read_schema(tmp_path / "own" / "0.parquet").names
    assert names[-5:-2] == ["zzz", "attr_text", "brightness"]
    assert annotate_shards(shards, AskingScorer(), tmp_path / "own", measures=early[::-1]) == []


def test_columns_of_every_type_are_proven_and_filtered_by(shards: Path, tmp_path: Path) -> None:
    class Several(Measure):
        name = "several"
        columns = tuple(
            Column(name=f"a_{kind}", type=kind, meaning="something")
            for kind in ("float64", "bool", "string", "int64", "label")
        )

        def prepare(self, picture: Picture) -> tuple[float, bool, str, int, str | None]:
            size = len(picture.file)
            return size / 3, size % 2 == 0, f"{size} bytes", size, None

    scores = tmp_path / "out"
    annotate_shards(shards, FakeScorer(), scores, measures=[Several()])
    assert problems(scores) == ""
    sizes = [len(data) for _, data in FILES[:2]]
    assert [row["a_int64"] for row in rows_of(scores)] == [*sizes, None]
    rule = "a_bool IS NOT NULL AND a_string = a_int64 || ' bytes' AND a_label IS NULL"
    command = ["filter", str(scores), "--output", str(tmp_path / "kept"), "--keep-top", "1"]
    assert main([*command, "--by", "a_float64", "--where", rule]) == 0
    assert len(kept_rows(tmp_path / "kept")) == 2


def test_a_value_is_null_or_finite(shards: Path, tmp_path: Path) -> None:
    class Odd(Brightness):
        def prepare(self, picture: Picture) -> float:
            return float("nan") if picture.file == FILES[0][1] else float("inf")

    annotate_shards(shards, FakeScorer(), tmp_path / "odd", measures=[Odd()])
    assert [row["brightness"] for row in rows_of(tmp_path / "odd")] == [None, None, None]
    assert problems(tmp_path / "odd") == ""


def test_two_measures_of_one_name_or_column_are_refused(shards: Path, tmp_path: Path) -> None:
    class Taken(Brightness):
        name = "taken"
        columns = (Column(name="width", type="int32", meaning="mine"),)

    for measures, says in (
        ([Brightness(), Brightness()], "two measures are called brightness"),
        ([Taken()], "two measures have a column width"),
    ):
        with pytest.raises(ConfigError, match=says):
            annotate_shards(shards, FakeScorer(), tmp_path / "o", measures=measures)
