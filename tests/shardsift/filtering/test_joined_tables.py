"""Other tables, in any format: rows are matched by their keys, and only those that match."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardsift.config.filter_settings import FilterConfig
from shardsift.errors import ConfigError, InputError, UserError
from shardsift.filtering.query import FilterResult, curate
from shardsift.filtering.rows import UNMATCHED
from tests.generated import row, write_annotations


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    """Two shards with the same keys."""
    shards = {
        shard: [row(n, n / 8, uid=f"{shard}{n}") for n in range(8)] for shard in ("a.tar", "b.tar")
    }
    return write_annotations(tmp_path / "scores", shards)


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """A shard of eight."""
    rows = [row(n, n / 8, uid=str(n), sha256=bytes([n]) * 32) for n in range(8)]
    return write_annotations(tmp_path / "one", {"00000.tar": rows})


def table(path: Path, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def ask(scores: Path, **settings: Any) -> FilterResult:
    fields = {"annotations": str(scores), "dry_run": True}
    fields |= {"keep_top": 1} if settings.keys().isdisjoint({"keep_top", "keep_count"}) else {}
    return curate(FilterConfig.model_validate(fields | settings))


def groups(scores: Path, joined: Path | str, **settings: Any) -> dict[str, tuple[int, int]]:
    given = {"keep_top": 0.5, "per": "domain", "join": str(joined)} | settings
    found = ask(scores, **given).summary
    return {b.name: (b.rows, b.kept) for b in found.groups} if found else {}


def kept(scores: Path, output: Path, **settings: Any) -> list[str]:
    ask(scores, output=str(output), dry_run=False, overwrite=True, **settings)
    files = sorted((output / "keep-list").rglob("*.parquet"))
    return [key for file in files for key in pq.ParquetFile(file).read()["key"].to_pylist()]


# --- what names a row --------------------------------------------------------------------------


def test_rows_are_found_by_uid(scores: Path, tmp_path: Path) -> None:
    domains = table(
        tmp_path / "domains.parquet",
        uid=[f"{shard}{n}" for shard in ("a.tar", "b.tar") for n in range(7)],
        domain=["news"] * 6 + [None] + ["blogs"] * 4 + ["news"] * 3,
    )
    expected = {"news": (9, 4), "blogs": (4, 2), UNMATCHED: (3, 2)}
    assert groups(scores, domains) == expected
    more = table(  # than annotations have, so that these are what is held
        tmp_path / "more.parquet",
        uid=pq.read_table(domains)["uid"].to_pylist() + [f"x{n}" for n in range(9)],
        domain=pq.read_table(domains)["domain"].to_pylist() + ["x"] * 9,
    )
    assert groups(scores, more) == expected


def test_shard_and_key_go_before_uid_and_numbers_are_names(scores: Path, tmp_path: Path) -> None:
    domains = table(
        tmp_path / "domains.parquet",
        shard=["a.tar"] * 8 + ["b.tar"] * 8,
        key=[f"k{n}" for n in range(8)] * 2,
        uid=["the same"] * 16,
        domain=[1] * 8 + [2] * 8,
    )
    assert groups(scores, domains) == {"1": (8, 4), "2": (8, 4)}


def test_a_key_of_several_samples_is_refused_unless_somebody_says_so(
    scores: Path, tmp_path: Path
) -> None:
    domains = table(tmp_path / "domains.parquet", key=["k0", "k1"], domain=["x", "y"])
    with pytest.raises(InputError, match=r"key k0 names several samples, of a\.tar and b\.tar"):
        groups(scores, domains)
    found = groups(scores, domains, on="key", keep_top=1)
    assert found == {"x": (2, 2), "y": (2, 2), UNMATCHED: (12, 12)}


@pytest.mark.parametrize("on", ["uid", "shard,key", "uid=name", "index = place , shard"])
def test_whoever_joins_says_what_names_a_row(on: str, scores: Path, tmp_path: Path) -> None:
    both = [(shard, n) for shard in ("a.tar", "b.tar") for n in range(8)]
    domains = table(
        tmp_path / "domains.parquet",
        shard=[shard for shard, _ in both],
        key=[f"k{n}" for _, n in both],
        place=pa.array([n for _, n in both], pa.uint8()),
        uid=[f"{shard}{n}" for shard, n in both],
        name=[f"{shard}{n}" for shard, n in both],
        domain=[shard for shard, _ in both],
    )
    assert groups(scores, domains, on=on) == {"a.tar": (8, 4), "b.tar": (8, 4)}


def test_a_hash_in_hexadecimal_digits_names_a_row(one: Path, tmp_path: Path) -> None:
    hashes = [(bytes([n]) * 32).hex().upper() for n in range(4)]
    domains = table(tmp_path / "domains.parquet", sha256=hashes, domain=list("xxyy"))
    found = groups(one, domains, on="sha256", keep_top=1)
    assert found == {"x": (2, 2), "y": (2, 2), UNMATCHED: (4, 4)}


@pytest.mark.parametrize("keys", [["uid"], ["shard", "key"]], ids="+".join)
def test_a_null_key_matches_nothing(keys: list[str], tmp_path: Path) -> None:
    samples = [row(0, 0.1, uid=None), row(1, 0.2, uid=""), row(2, 0.3, uid="u")]
    scores = write_annotations(tmp_path / "scores", {"a.tar": samples})
    columns = {
        "uid": [None, "u", None],
        "shard": ["a.tar", "a.tar", None],
        "key": [None, "k2", "k1"],
        "domain": ["x", "y", "z"],
    }
    domains = table(tmp_path / "d.parquet", **{name: columns[name] for name in [*keys, "domain"]})
    assert groups(scores, domains, keep_top=1) == {"y": (1, 1), UNMATCHED: (2, 2)}


def test_a_table_may_say_one_thing_twice(one: Path, tmp_path: Path) -> None:
    keys, domain = ["k1", "k1", "k2", "k2", None], ["x", "x", "y", None, "z"]
    again = table(tmp_path / "d.parquet", key=keys, domain=domain)
    assert groups(one, again, keep_top=1) == {"x": (1, 1), "y": (1, 1), UNMATCHED: (6, 6)}
    other = table(tmp_path / "e.parquet", key=["k1", "k1", "k2"], domain=["x", "y", "y"])
    with pytest.raises(InputError, match="has different rows for 1 values of key"):
        groups(one, other)


def test_one_that_says_a_thing_twice_hides_no_mismatch_of_another(
    one: Path, tmp_path: Path
) -> None:
    twice = table(tmp_path / "t.parquet", key=["k1", "k1"], domain=["x", "x"])
    other = table(tmp_path / "o.parquet", uid=["nobody"], shard=["00000.tar"], index=[3])
    with pytest.raises(InputError, match=r"has a match by uid: .*; --on shard,index would match 1"):
        ask(one, per="domain", join=(str(twice), str(other)))


@pytest.mark.parametrize("kind", ["large_string", "string_view", "dictionary", "binary"])
def test_text_joins_however_it_is_kept(kind: str, tmp_path: Path) -> None:
    scores = write_annotations(
        tmp_path / "s", {"a.tar": [row(0, 0.1, key="k0"), row(1, 0.2, key="ü's")]}
    )
    keys: Any = pa.array(["k0", "ü's"])
    keys = keys.dictionary_encode() if kind == "dictionary" else keys.cast(kind)
    domains = table(tmp_path / "d.parquet", key=keys, domain=["x", "y"])
    assert groups(scores, domains, keep_top=1) == {"x": (1, 1), "y": (1, 1)}


def test_numbers_are_the_text_that_they_are_written_as(one: Path, tmp_path: Path) -> None:
    domains = table(tmp_path / "d.parquet", uid=[0, 1], domain=["x", "y"])
    found = groups(one, domains, keep_top=1)
    assert found == {"x": (1, 1), "y": (1, 1), UNMATCHED: (6, 6)}


# --- what it says of matches -------------------------------------------------------------------


def test_both_sides_are_counted_and_few_matches_are_a_warning(
    one: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    domains = table(tmp_path / "d.parquet", key=["k0", "k1", "elsewhere"], domain=list("xyz"))
    with caplog.at_level(logging.WARNING):
        found = ask(one, per="domain", join=str(domains))
    (match,) = found.summary.joined
    assert (match.on, match.rows, match.table_rows, match.table_rows_found) == ("key", 2, 3, 2)
    assert "d.parquet: 2 of 8 rows have a match by key; the others have no value" in caplog.text
    caplog.clear()
    every = table(tmp_path / "e.parquet", key=[f"k{n}" for n in range(8)], domain=["x"] * 8)
    ask(one, per="domain", join=str(every))
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (
            {"key": ["./00000", "./00001"]},
            "none of 8 rows has a match by key: annotations have k0, k1, it has ./00000, ./00001",
        ),
        ({"uid": ["x", "y"], "key": ["k0", "k1"]}, "it has x, y; --on key would match 2"),
        (
            {"shard": ["00000", "00000"], "key": ["k0", "k1"]},
            "annotations have 00000.tar/k0, 00000.tar/k1, it has 00000/k0, 00000/k1; "
            "--on key would match 2",
        ),
        ({"uid": pa.nulls(2, pa.string())}, "annotations have 0, 1, it has None, None"),
    ],
)
def test_without_any_match_keys_of_both_stand_side_by_side(
    keys: dict[str, Any], says: str, one: Path, tmp_path: Path
) -> None:
    domains = table(tmp_path / "d.parquet", **keys, nsfw=[True, False])
    with pytest.raises(InputError) as error:
        ask(one, where="nsfw IS NOT TRUE", join=str(domains))
    assert says in str(error.value)
    assert "\n" not in str(error.value)


# --- what tables lie in ------------------------------------------------------------------------


def write_parts(folder: Path) -> None:
    """Parquet beside other files: Delta's log, a hidden folder, img2dataset's statistics."""
    table(folder / "a.parquet", key=["k0", "k1"], domain=["x", "x"])
    table(folder / "lang=en" / "b.PARQUET", key=["k2"], domain=["y"])
    table(folder / "lang=en" / "c.pq", key=["k3"], domain=["y"])
    table(folder / "_delta_log" / "0.checkpoint.parquet", add=["a.parquet"])
    table(folder / ".cache" / "0.parquet", key=["k4"], domain=["z"])
    table(folder / "_old.parquet", key=["k4"], domain=["z"])
    (folder / "0_stats.json").write_text("{}")


@pytest.mark.parametrize("place", ["t", "t/", "t.parquet", "t/**/*.[pP]*"])
def test_a_folder_or_a_glob_is_one_table(
    place: str, one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parts(tmp_path / place.split("/")[0])  # Spark's folders are called t.parquet, too
    monkeypatch.chdir(tmp_path)
    expected = {"x": (2, 2), "y": (2, 2), UNMATCHED: (4, 4)}
    assert groups(one, place, keep_top=1) == expected
    assert groups(one, str(tmp_path / place), keep_top=1) == expected


def test_a_folder_of_hive_has_columns_in_its_names(one: Path, tmp_path: Path) -> None:
    table(tmp_path / "t" / "lang=en" / "a.parquet", key=["k0", "k1"], n=[1, 2])
    table(tmp_path / "t" / "lang=de" / "a.parquet", key=["k2"], n=[3])
    found = groups(one, tmp_path / "t", per="lang", keep_top=1)
    assert found == {"en": (2, 2), "de": (1, 1), UNMATCHED: (5, 5)}


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "metadata.jsonl", "t.json", "t.csv.gz"])
def test_csv_and_json_lines_are_tables(name: str, one: Path, tmp_path: Path) -> None:
    rows = [{"key": f"k{n}", "domain": "x" if n < 3 else "y", "aes": n / 2} for n in range(8)]
    if "json" in name:
        text = "\n".join(map(json.dumps, rows))
    else:
        comma = "\t" if name.endswith("tsv") else ","
        text = "\n".join(comma.join(map(str, r)) for r in [[*rows[0]], *(r.values() for r in rows)])
    data = text.encode()
    if name.endswith(".gz"):
        import gzip

        data = gzip.compress(data)
    (tmp_path / name).write_bytes(data)
    found = groups(one, tmp_path / name, where="aes > 0.5", keep_top=1)
    assert found == {"x": (1, 1), "y": (5, 5)}


def test_files_of_a_table_are_unified_as_duckdb_does(one: Path, tmp_path: Path) -> None:
    """A column that is all null, missing, or of another type of numbers."""
    table(tmp_path / "t" / "0.parquet", key=["k0", "k1"], aes=pa.array([1, 2], pa.int8()))
    table(tmp_path / "t" / "1.parquet", key=["k2", "k3"], aes=[0.5, 3.25])
    table(tmp_path / "t" / "2.parquet", key=["k4"], aes=pa.nulls(1))
    table(tmp_path / "t" / "3.parquet", key=["k5"], other=["x"])
    found = ask(one, by="aes", join=str(tmp_path / "t"), keep_top=0.5)
    assert (found.threshold, found.summary.without_value) == (2.0, 4)


def test_a_store_is_read_as_a_disk_is(one: Path, tmp_path: Path) -> None:
    import fsspec

    content = table(tmp_path / "t.parquet", key=["k0", "k1"], domain=["x", "y"]).read_bytes()
    fsspec.filesystem("memory").pipe_file("/tables/t.parquet", content)
    expected = {"x": (1, 1), "y": (1, 1), UNMATCHED: (6, 6)}
    for url in ("memory://tables/t.parquet", "memory://tables", "memory://tables/*.parquet"):
        assert groups(one, url, keep_top=1) == expected


@pytest.mark.parametrize("name", ["it's [odd] {x}.parquet", "a b?*.parquet", "ü.csv"])
def test_a_name_may_have_any_signs(name: str, one: Path, tmp_path: Path) -> None:
    table(tmp_path / "odd" / name, key=["k0", "k1"], domain=["x", "y"])
    if name.endswith(".csv"):
        (tmp_path / "odd" / name).write_text("key,domain\nk0,x\nk1,y\n")
    expected = {"x": (1, 1), "y": (1, 1), UNMATCHED: (6, 6)}
    assert groups(one, tmp_path / "odd" / name, keep_top=1) == expected
    assert groups(one, tmp_path / "odd", keep_top=1) == expected


def test_keys_of_csv_are_text(tmp_path: Path) -> None:
    rows = [row(n, n / 8, key=key) for n, key in enumerate(["1e5", "00012", "-0", "1.50"])]
    scores = write_annotations(tmp_path / "s", {"a.tar": rows})
    (tmp_path / "t.csv").write_text("key,domain\n1e5,x\n00012,x\n-0,x\n1.50,x\n")
    assert groups(scores, tmp_path / "t.csv", keep_top=1) == {"x": (4, 4)}


@pytest.mark.parametrize(
    "name",
    [
        "nowhere.parquet",
        "nowhere",
        "text.parquet",
        "empty",
        "*.pq",
        "pipe.csv",
        "latin.csv",
        "noname.parquet",
    ],
)
def test_a_table_that_cannot_be_read_is_one_line(name: str, one: Path, tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no Parquet")
    (tmp_path / "latin.csv").write_bytes("key,domain\nk0,ü\n".encode("latin1"))
    table(tmp_path / "noname.parquet", sample=["k0"], domain=["x"])
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as error:
        groups(one, tmp_path / name)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


# --- names of columns --------------------------------------------------------------------------


def test_a_name_that_both_have_is_annotations_own_or_refused(one: Path, tmp_path: Path) -> None:
    joined = table(
        tmp_path / "t.parquet", key=[f"k{n}" for n in range(8)], quality=[9.0] * 8, WIDTH=[7] * 8
    )
    output, join = tmp_path / "kept", str(joined)
    assert kept(one, output, where="quality > 0.7", join=join) == ["k6", "k7"]
    assert len(kept(one, output, where="joined.quality > 8", join=join)) == 8
    assert len(kept(one, output, where="joined.width = 7 AND QUALITY < 9", join=join)) == 8
    assert kept(one, output, where="annotations.width > 105", join=join) == ["k6", "k7"]
    named = f"{join} AS laion"
    assert len(kept(one, output, where="laion.WIDTH = 7", join=named)) == 8
    for name in ("WIDTH", "width"):
        says = rf"{name} may be annotations\.width or laion\.WIDTH; write which"
        with pytest.raises(ConfigError, match=says):
            ask(one, where=f"{name} > 3", join=named)


def test_several_tables_are_told_apart(one: Path, tmp_path: Path) -> None:
    keys = [f"k{n}" for n in range(8)]
    first = str(table(tmp_path / "a.parquet", key=keys, aes=list(range(8))))
    second = str(
        table(tmp_path / "b.parquet", name=keys, aes=list(range(8, 0, -1)), nsfw=[True] * 8)
    )
    rule = {"join": (first, f"{second} AS b"), "on": ("key", "key=name"), "keep_count": 2}
    output = tmp_path / "kept"
    assert kept(one, output, by="joined.aes", where="nsfw", **rule) == ["k6", "k7"]
    assert kept(one, output, by="b.aes", **rule) == ["k0", "k1"]
    with pytest.raises(ConfigError, match=r"aes may be joined\.aes or b\.aes; write which"):
        ask(one, by="aes", **rule)
    with pytest.raises(ConfigError, match="there is another table B"):
        ask(one, by="b.aes", join=(f"{first} AS b", f"{second} AS B"), on=("key", "key=name"))


def test_fields_of_structs_rank_and_nan_is_null(one: Path, tmp_path: Path) -> None:
    values = [float("nan"), 1.0, 5.0, 3.0, float("nan"), 2.0, 0.0, 4.0]
    meta = [{"aes": value, "is ok": True} for value in values]
    joined = table(tmp_path / "t.parquet", key=[f"k{n}" for n in range(8)], meta=meta)
    rule: dict[str, Any] = {"join": str(joined), "output": tmp_path / "kept"}
    assert kept(one, by="meta.aes", keep_count=2, **rule) == ["k2", "k7"]
    assert kept(one, where="meta.aes > 3", **rule) == ["k2", "k7"]
    assert kept(one, where='joined.meta.aes IS NULL AND meta."is ok"', **rule) == ["k0", "k4"]
    with pytest.raises(ConfigError, match="aesthetic"):
        ask(one, by="meta.aesthetic", join=str(joined))


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_two_columns_of_one_name_are_one_line(name: str, one: Path, tmp_path: Path) -> None:
    columns = [pa.array(["k0", "k1"]), pa.array([1.0, 2.0]), pa.array([3.0, 4.0])]
    pq.write_table(pa.table(columns, names=["key", "aes", "aes"]), tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text("key,aes,aes\nk0,1.0,3.0\nk1,2.0,4.0\n")
    with pytest.raises(InputError, match=rf"{name}: has a column aes twice; rename one"):
        ask(one, by="aes", join=str(tmp_path / name))


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t"])
def test_columns_that_differ_in_letters_alone_are_told_apart(
    name: str, one: Path, tmp_path: Path
) -> None:
    """As in img2dataset's output of LAION: `WIDTH` of the list, `width` of the picture."""
    rows = [(f"k{n}", n, 10 - n, 5) for n in range(8)]
    names = ["key", "WIDTH", "width", "width_1"]
    columns = pa.table([pa.array(column) for column in zip(*rows, strict=True)], names=names)
    pq.write_table(columns, tmp_path / "t.parquet")
    table(tmp_path / "t" / "0.parquet").unlink()
    for part, begin in enumerate((0, 4)):
        pq.write_table(columns.slice(begin, 4), tmp_path / "t" / f"{part}.parquet")
    text = "\n".join(",".join(map(str, row)) for row in [names, *rows])
    (tmp_path / "t.csv").write_text(text)
    join = str(tmp_path / name)
    for by, best in (("joined.WIDTH", "k7"), ("joined.width", "k0"), ("joined.WIDTH", "k7")):
        assert kept(one, tmp_path / "kept", by=by, join=join, keep_count=1) == [best]
    assert kept(one, tmp_path / "kept", by="width", join=join, keep_count=1) == ["k7"], "its own"
    assert ask(one, by="width_1", join=join, keep_count=1).threshold == 5
    with pytest.raises(ConfigError, match=r"may be joined\.WIDTH or joined\.width; write which"):
        ask(one, by="joined.Width", join=join)


def test_columns_that_files_have_in_different_places_are_refused(one: Path, tmp_path: Path) -> None:
    """DuckDB would take one for the other."""
    table(tmp_path / "t" / "0.parquet", key=["k0"], WIDTH=[1])
    table(tmp_path / "t" / "1.parquet", key=["k1"], width=[1], WIDTH=[2])
    with pytest.raises(
        InputError, match="has width and WIDTH, and its files have different columns"
    ):
        ask(one, by="joined.WIDTH", join=str(tmp_path / "t"))


# --- leaving out -------------------------------------------------------------------------------


def test_what_a_list_names_goes_and_is_counted(
    one: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    takedowns = table(tmp_path / "takedowns.parquet", uid=["7", "7", "nobody's"])
    (tmp_path / "optouts.csv").write_text("key\nk6\nk2\n")
    lists = (str(takedowns), str(tmp_path / "optouts.csv"))
    found = ask(one, exclude=lists, keep_top=0.4)
    assert (found.summary.excluded_by_list, found.summary.kept, found.summary.below_threshold) == (
        3,
        2,
        3,
    )
    assert kept(one, tmp_path / "kept", exclude=lists, keep_top=0.4) == ["k4", "k5"]
    summary = json.loads((tmp_path / "kept" / "_summary.json").read_text())
    assert summary["excluded_by_list"] == 3
    assert [match["rows"] for match in summary["joined"]] == [1, 2]
    nobody = table(tmp_path / "nobody.parquet", key=["x"])
    with caplog.at_level(logging.WARNING):
        assert len(kept(one, tmp_path / "kept", exclude=str(nobody))) == 8
    assert "none of 8 rows has a match by key: annotations have k0, k1, it has x" in caplog.text


def test_a_list_may_name_a_key_of_several_samples(scores: Path, tmp_path: Path) -> None:
    """All samples of a listed key are dropped."""
    listed = table(tmp_path / "t.parquet", key=["k7"])
    found = ask(scores, exclude=str(listed), errors="keep")
    assert (found.summary.excluded_by_list, found.summary.kept) == (2, 14)


# --- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"key": ["k1"], "domains": ["x"]}, "no column domain; did you mean domains?"),
        ({"name": ["k1"], "domain": ["x"]}, "has no uid, key"),
        ({"key": pa.array([], "string"), "domain": pa.array([], "string")}, "holds no rows"),
        ({"shard": ["a"], "index": [0.0], "domain": ["x"]}, "index is DOUBLE, and index of"),
        ({"key": [["k1"]], "domain": ["x"]}, "key is VARCHAR[], and key of annotations VARCHAR"),
    ],
)
def test_what_cannot_be_joined_is_refused(
    columns: dict[str, Any], says: str, one: Path, tmp_path: Path
) -> None:
    joined = table(tmp_path / "t.parquet", **columns)
    with pytest.raises(UserError) as error:
        groups(one, joined)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("on", "says"),
    [
        ("shart,key", r"--on shart,key: no column shart in annotations; did you mean shard\?"),
        ("key=kay", r"no column kay in .*t\.parquet; did you mean key\?"),
        ("quality=key", "key is VARCHAR, and quality of annotations FLOAT"),
    ],
)
def test_a_key_that_is_not_there_is_refused(on: str, says: str, one: Path, tmp_path: Path) -> None:
    joined = table(tmp_path / "t.parquet", key=["k0"], domain=["x"])
    with pytest.raises(UserError, match=says):
        groups(one, joined, on=on)


def test_buckets_without_a_value_have_a_name_of_their_own(one: Path, tmp_path: Path) -> None:
    domain = [UNMATCHED, f"({UNMATCHED})", None]
    joined = table(tmp_path / "t.parquet", key=["k0", "k1", "k2"], domain=domain)
    assert groups(one, joined, keep_top=1) == {
        UNMATCHED: (1, 1),
        f"({UNMATCHED})": (1, 1),
        f"(({UNMATCHED}))": (6, 6),
    }


def test_too_many_buckets_are_refused(tmp_path: Path) -> None:
    rows = [row(n, 0.5) for n in range(16_385)]
    scores = write_annotations(tmp_path / "many", {"a.tar": rows})
    with pytest.raises(InputError, match="makes over 16,384 groups"):
        ask(scores, per="key")
