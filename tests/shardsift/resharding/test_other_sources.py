"""Parquet files and folders become tars that loaders read, or Parquet with the same schema."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from webdataset.compat import WebDataset

from shardsift import annotate_shards
from shardsift.errors import ConfigError, InputError, ShardError
from shardsift.resharding.reshard_folder import ReshardFolder
from shardsift.verification.new_shards import verify_reshard
from tests.fakes import FakeScorer
from tests.samples import as_parquet, as_pictures, encoded, write_shards, write_tar
from tests.shardsift.resharding.corpora import Corpus, files_of

EVERYTHING = {"keep_top": 1.0, "errors": "keep"}
JPEG = encoded(seed=1)


def scored(folder: Path, rule: dict[str, Any] = EVERYTHING, **settings: Any) -> Corpus:
    """Score and filter what lies in `folder/in`."""
    corpus = Corpus(folder)
    annotate_shards(corpus.shards, FakeScorer(), corpus.scores, **settings)
    corpus.filter(**rule)
    return corpus


def samples_in(corpus: Corpus) -> list[dict[str, Any]]:
    """The new samples, as webdataset reads them; `.json` parsed."""
    tars = [str(path) for path in sorted(corpus.out.glob("*.tar"))]
    read = [dict(sample) for sample in WebDataset(tars, shardshuffle=False, empty_check=False)]
    return [sample | {"json": json.loads(sample["json"])} for sample in read]


def is_sound(corpus: Corpus) -> bool:
    found = verify_reshard(ReshardFolder(str(corpus.out)))
    return found.problems == [] and found.unchecked == []


# --- Parquet to tars -----------------------------------------------------------------------------

FILE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write_parquet(path: Path, columns: dict[str, Any], rows: int = 4) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=rows)
    return path


def pictures(count: int, first: int = 0) -> list[bytes]:
    return [encoded(seed=first + number) for number in range(count)]


def test_rows_become_samples_with_caption_and_all_other_columns(tmp_path: Path) -> None:
    when = datetime.datetime(2024, 5, 2, 10, 1, tzinfo=datetime.UTC)
    columns = {
        "image": pa.array([{"bytes": JPEG, "path": "a.jpg"}], FILE),
        "Text": ["Zürich\nlake"],
        "mask": pa.array([{"bytes": encoded("PNG", seed=2), "path": None}], FILE),
        "views": pa.array([[b"one", b"two"]]),
        "size": pa.array([[1, 2]]),
        "score": [float("nan")],
        "when": [when],
        "price": [Decimal("1.50")],
        "nested": [{"sum": b"\0\xff", "n": None}],
    }
    write_parquet(tmp_path / "in" / "a.parquet", columns)
    corpus = scored(tmp_path, image="image")
    (report,) = corpus.reshard()
    (sample,) = samples_in(corpus)
    row = pq.read_table(corpus.scores).to_pylist()[0]
    assert sample["__key__"] == "00000000_000000"
    assert sample["jpg"] == JPEG
    assert sample["txt"].decode() == "Zürich\nlake"
    assert sample["mask.png"] == encoded("PNG", seed=2)
    assert (sample["views.0.bin"], sample["views.1.bin"]) == (b"one", b"two")
    assert sample["json"] == {
        "Text": "Zürich\nlake",
        "size": [1, 2],
        "score": None,
        "when": when.isoformat(),
        "price": "1.50",
        "nested": {"sum": "AP8=", "n": None},
        **{name: pytest.approx(row[name]) for name in ("quality", "q_sim", "q_mag")},
        "source_shard": "a.parquet",
        "source_key": "0",
    }
    assert (report.samples, report.json_made, report.json_left) == (1, 0, 0)
    assert is_sound(corpus)


def test_only_kept_rows_are_packed_in_order_whatever_the_row_groups(tmp_path: Path) -> None:
    for number in range(3):
        images = pictures(6, 6 * number)
        write_parquet(tmp_path / "in" / f"{number}.parquet", {"jpg": images}, rows=1 + number)
    corpus = scored(tmp_path, {"keep_top": 0.5})
    corpus.reshard(samples_per_shard=4)
    kept = [
        row
        for path in sorted((corpus.kept / "keep-list").glob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]
    files = {f"{n}.parquet": pictures(6, 6 * n) for n in range(3)}
    written = samples_in(corpus)
    assert [sample["jpg"] for sample in written] == [
        files[row["shard"]][row["index"]] for row in kept
    ]
    assert len({sample["__key__"] for sample in written}) == 9
    assert [path.name for path in sorted(corpus.out.glob("*.tar"))] == [
        f"{number:08}.tar" for number in range(3)
    ]
    assert is_sound(corpus)


def test_a_kept_row_without_a_picture_keeps_its_columns(tmp_path: Path) -> None:
    write_parquet(tmp_path / "in" / "a.parquet", {"jpg": [JPEG, None], "caption": ["a", "b"]})
    corpus = scored(tmp_path)
    corpus.reshard(annotate_columns="none")
    assert [(s.get("jpg"), s["txt"], s["json"]) for s in samples_in(corpus)] == [
        (JPEG, b"a", {"caption": "a"}),
        (None, b"b", {"caption": "b"}),
    ]


def test_no_column_hides_another_and_no_path_leads_elsewhere(tmp_path: Path) -> None:
    columns = {
        "jpg": pa.array([{"bytes": d, "path": "a.b/../c"} for d in (b"no picture", JPEG)], FILE),
        "Mask": pa.array([b"one", b"one"]),
        "mask": pa.array([b"two", b"two"]),
        "a/b": pa.array([b"three", None]),
    }
    write_parquet(tmp_path / "in" / "a.parquet", columns)
    corpus = scored(tmp_path, image="jpg")
    corpus.reshard()
    names = [name.removeprefix("00000000_") for name, _ in files_of(corpus.out / "00000000.tar")]
    shared = ("mask.bin", "mask_.bin")
    first = [f"000000.{name}" for name in ("bin", *shared, "a_b.bin", "json")]
    assert names == [*first, *(f"000001.{name}" for name in ("jpg", *shared, "json"))]


def test_a_kept_picture_that_cant_be_read_leaves_no_empty_file(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(JPEG)
    (tmp_path / "in" / "b.jpg").symlink_to("nowhere")
    corpus = scored(tmp_path)
    corpus.reshard()
    assert [sorted(s.keys() & {"jpg", "json"}) for s in samples_in(corpus)] == [
        ["jpg", "json"],
        ["json"],
    ]


# --- folders -------------------------------------------------------------------------------------


def test_pictures_become_samples_with_what_lies_beside_them(tmp_path: Path) -> None:
    files = {
        "IMG.2020.jpg": encoded(seed=1),
        "IMG.2021.jpg": encoded(seed=2),
        "IMG.2021.txt": b"a caption",
        "IMG.2021.json": b'{"uid": "u", "tags": [1]}',
        "two.jpg": encoded(seed=3),
        "two.png": encoded("PNG", seed=4),
        "two.txt": b"of which?",
        "sub/photo.HEIC": b"\0\0\0\x18ftypheic",
        "sub/a\nb.jpg": encoded(seed=5),
    }
    for name, content in files.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    corpus = scored(tmp_path)
    corpus.reshard(samples_per_shard=4)
    written = {sample["json"]["source_key"]: sample for sample in samples_in(corpus)}
    assert written.keys() == {name for name in files if not name.endswith((".txt", ".json"))}
    for name, sample in written.items():
        assert sample[name.rpartition(".")[2].lower()] == files[name]
    second = written["IMG.2021.jpg"]
    assert (second["txt"], second["json"]["tags"]) == (b"a caption", [1])
    assert "txt" not in written["two.jpg"]
    assert is_sound(corpus)


@pytest.mark.parametrize("table", ["metadata.jsonl", "metadata.csv"])
def test_captions_and_fields_come_from_a_table_as_for_datasets(table: str, tmp_path: Path) -> None:
    rows = [
        {"file_name": "a.jpg", "text": "first, of two\nlines", "mos": 3.5, "uid": "0012"},
        {"file_name": "sub/b.jpg", "text": "second", "mos": 4, "uid": "0013"},
    ]
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for seed, name in enumerate(("a.jpg", "sub/b.jpg", "sub/c.jpg")):
        (folder / name).write_bytes(encoded(seed=seed))
    (folder / "sub" / "b.json").write_text('{"mos": 5}')
    (folder / "a.txt").write_text("its own")
    if table.endswith("csv"):
        pyarrow.csv.write_csv(pa.Table.from_pylist(rows), folder / table)
    else:
        (folder / table).write_text("".join(json.dumps(row) + "\n" for row in rows))
    there = datasets.load_dataset("imagefolder", data_dir=str(folder), split="train")
    assert {*there["text"]} == {"first, of two\nlines", "second"}
    corpus = scored(tmp_path)
    corpus.reshard()
    written = {sample["json"]["source_key"]: sample for sample in samples_in(corpus)}
    told = {
        name: (sample.get("txt"), sample["json"].get("mos"), sample["json"].get("uid"))
        for name, sample in written.items()
    }
    assert told == {
        "a.jpg": (b"its own", 3.5, "0012"),
        "sub/b.jpg": (b"second", 5, "0013"),
        "sub/c.jpg": (None, None, None),
    }


def test_a_table_that_cant_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(JPEG)
    (tmp_path / "in" / "metadata.jsonl").write_text("{broken")
    corpus = scored(tmp_path)
    with pytest.raises(ShardError, match=r"metadata\.jsonl: .*; mend or rename it"):
        corpus.reshard()


def test_rows_of_a_table_that_name_no_picture_are_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(JPEG)
    (folder / os.fsdecode(b"\xff.jpg")).write_bytes(encoded(seed=1))
    rows = '[1]\n"a"\n{"file_name": 1}\n{"file_name": "a.jpg", "text": "x"}\n'
    (folder / "metadata.jsonl").write_text(rows)
    corpus = scored(tmp_path)
    corpus.reshard()
    written = {sample["json"]["source_key"]: sample.get("txt") for sample in samples_in(corpus)}
    assert written == {"a.jpg": b"x", "\\xff.jpg": None}


# --- tars with keys by stem ----------------------------------------------------------------------


def test_names_with_dots_stay_samples_of_their_own(tmp_path: Path) -> None:
    files = []
    for number, name in enumerate(("2024.05.02 at 10.01", "2024.05.02 at 10.02")):
        files += [(f"{name}.png", encoded("PNG", seed=number)), (f"{name}.txt", name.encode())]
    write_tar(tmp_path / "in" / "0.tar", files)
    corpus = scored(tmp_path, key_by="stem")
    corpus.reshard()
    written = [(sample["png"], sample["txt"]) for sample in samples_in(corpus)]
    assert written == [(files[0][1], files[1][1]), (files[2][1], files[3][1])]
    assert [s["json"]["source_key"] for s in samples_in(corpus)] == [
        name.rpartition(".")[0] for name, _ in files[::2]
    ]


# --- moved, and changed since the scores ---------------------------------------------------------


@pytest.mark.parametrize("to", ["tar", "parquet"])
def test_a_picture_that_isnt_the_one_that_was_scored_is_noticed(to: str, tmp_path: Path) -> None:
    first, other = encoded("BMP", seed=1), encoded("BMP", seed=2)
    path = tmp_path / "in" / "a.parquet"
    path.parent.mkdir()
    table = pa.table({"bmp": [encoded("BMP", seed=3), first]})
    pq.write_table(table, path, compression="none", use_dictionary=False)
    content, when = path.read_bytes(), path.stat()
    corpus = scored(tmp_path, hashes=["sha256"])
    path.write_bytes(content.replace(first, other))
    os.utime(path, ns=(when.st_atime_ns, when.st_mtime_ns))
    with pytest.raises(ShardError, match=r"the image of (row )?1 has another sha256"):
        corpus.reshard(to=to)
    assert not [path for path in corpus.out.iterdir() if path.is_file() and path.name[0] != "_"]


@pytest.mark.parametrize("as_kind", [as_parquet, as_pictures])
def test_a_corpus_that_has_moved_gives_the_same_tars(
    as_kind: Callable[[Path, Path], Path], tmp_path: Path
) -> None:
    as_kind(write_shards(tmp_path / "tars", 2, 4), tmp_path / "in")
    corpus = scored(tmp_path, {"keep_top": 0.5})
    corpus.reshard()
    before = files_of(corpus.out / "00000000.tar")
    moved = corpus.shards.rename(tmp_path / "moved")
    corpus.reshard(shards=[str(moved)], overwrite=True)
    assert files_of(corpus.out / "00000000.tar") == before
    found = verify_reshard(ReshardFolder(str(corpus.out)), str(moved))
    assert (found.problems, found.unchecked) == ([], [])


def test_a_folder_that_changed_since_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for seed in range(2):
        (tmp_path / "in" / f"{seed}.jpg").write_bytes(encoded(seed=seed))
    corpus = scored(tmp_path)
    (tmp_path / "in" / "1.jpg").unlink()
    with pytest.raises(InputError, match=r"00000\.pictures: has changed since it was scored"):
        corpus.reshard()


# --- Parquet to Parquet --------------------------------------------------------------------------


def hub_like(folder: Path, files: int = 2, rows: int = 10) -> list[Any]:
    """Files as `datasets` writes them, with columns of all kinds."""
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "boxes": datasets.List({"x": datasets.Value("float64")}),
            "when": datasets.Value("timestamp[ns]"),
            "weight": datasets.Value("float32"),
        }
    )
    folder.mkdir()
    tables = []
    for number in range(files):
        table = [
            {
                "image": {"bytes": data, "path": f"{place}.jpg"},
                "label": place % 2,
                "boxes": [{"x": place / 3}] * (place % 3),
                "when": datetime.datetime(2024, 1, 1 + place, microsecond=7),
                "weight": None if place % 3 else float("nan"),
            }
            for place, data in enumerate(pictures(rows, rows * number))
        ]
        data = datasets.Dataset.from_list(table, features=features)
        path = folder / f"train-{number:05}-of-00002.parquet"
        data.to_parquet(str(path), batch_size=3)
        tables.append(pq.read_table(path))
    return tables


def codecs_of(path: Path) -> dict[str, str]:
    group = pq.ParquetFile(path).metadata.row_group(0)
    columns = [group.column(place) for place in range(group.num_columns)]
    return {column.path_in_schema: column.compression for column in columns}


def test_parquet_keeps_its_schema_and_the_kept_rows(tmp_path: Path) -> None:
    tables = hub_like(tmp_path / "in")
    corpus = scored(tmp_path, {"keep_top": 0.4})
    reports = corpus.reshard(to="parquet", samples_per_shard=5)
    assert [report.samples for report in reports] == [5, 3]
    lists = [pq.read_table(p) for p in sorted((corpus.kept / "keep-list").glob("*.parquet"))]
    expected = pa.concat_tables(
        [table.take(kept["index"]) for table, kept in zip(tables, lists, strict=True)]
    )
    paths = sorted((corpus.out / "data").iterdir())
    assert [path.name for path in paths] == ["00000000.parquet", "00000001.parquet"]
    written = pa.concat_tables([pq.read_table(path) for path in paths])
    assert written.schema.equals(expected.schema, check_metadata=True)
    assert repr(written.to_pylist()) == repr(expected.to_pylist())  # NaN isn't equal to itself
    assert codecs_of(paths[0]) == codecs_of(min(corpus.shards.iterdir()))
    loaded = datasets.load_dataset(str(corpus.out / "data"), split="train")
    assert loaded.features["label"].names == ["cat", "dog"]
    assert loaded[0]["image"].size == (300, 260)
    assert is_sound(corpus)


def test_a_change_of_a_new_parquet_file_is_noticed(tmp_path: Path) -> None:
    hub_like(tmp_path / "in")
    corpus = scored(tmp_path)
    corpus.reshard(to="parquet")
    path = corpus.out / "data" / "00000000.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (problem,) = verify_reshard(ReshardFolder(str(corpus.out))).problems
    assert problem.trouble == "has another SHA-256 than when it was written"
    assert problem.deletes == ("data/00000000.parquet", "00000000_stats.json")


def test_row_groups_are_made_anew_and_large_ones_are_cut(tmp_path: Path) -> None:
    files = [JPEG + os.urandom(4 << 20) for _ in range(20)]  # what follows a JPEG is ignored
    write_parquet(tmp_path / "in" / "a.parquet", {"jpg": files}, rows=20)
    corpus = scored(tmp_path)
    corpus.reshard(to="parquet")
    (path,) = (corpus.out / "data").iterdir()
    metadata = pq.ParquetFile(path).metadata
    rows = [metadata.row_group(place).num_rows for place in range(metadata.num_row_groups)]
    assert rows == [8, 8, 4]
    assert pq.read_table(path)["jpg"].to_pylist() == files


def test_files_of_two_schemas_need_an_output_each(tmp_path: Path) -> None:
    write_parquet(tmp_path / "in" / "a.parquet", {"jpg": [JPEG], "n": [1]})
    write_parquet(tmp_path / "in" / "b.parquet", {"jpg": [JPEG], "m": ["1"]})
    corpus = scored(tmp_path)
    told = r"a\.parquet and b\.parquet: their columns differ \(n, m\); reshard them apart"
    with pytest.raises(InputError, match=told):
        corpus.reshard(to="parquet")


def test_only_parquet_becomes_parquet(tmp_path: Path) -> None:
    write_tar(tmp_path / "in" / "0.tar", [("a.jpg", JPEG)])
    corpus = scored(tmp_path)
    with pytest.raises(ConfigError, match="keeps samples of tar, and only rows of Parquet"):
        corpus.reshard(to="parquet")


def test_a_second_run_finds_its_files(tmp_path: Path) -> None:
    hub_like(tmp_path / "in")
    corpus = scored(tmp_path)
    assert len(corpus.reshard(to="parquet", samples_per_shard=7)) == 3
    (corpus.out / "data" / "00000001.parquet").unlink()
    (report,) = corpus.reshard(to="parquet", samples_per_shard=7)
    assert (report.shard, report.samples) == ("data/00000001.parquet", 7)
    assert len(corpus.reshard(samples_per_shard=20, overwrite=True)) == 1
    assert not list((corpus.out / "data").glob("*.parquet"))
