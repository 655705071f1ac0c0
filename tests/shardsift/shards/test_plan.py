"""Which shards a run is made of, and what their annotations are called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shardsift.errors import InputError, OutputError, UserError
from shardsift.reading import TARS
from shardsift.shards.plan import plan_moved, plan_shards, shard_prefixes
from shardsift.storage.local import walk
from tests.samples import write_tar


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for name in ("a/00000.tar", "a/00001.tar", "b/c/00000.tar"):
        write_tar(tmp_path / name, [])
    return tmp_path


@pytest.mark.parametrize(
    "patterns",
    [
        ["{root}"],
        ["{root}/a", "{root}/b"],
        ["{root}/a/*.tar", "{root}/b/c/00000.tar"],
        ["{root}/**/*.tar"],
        ["{root}/a/{{00000..00001}}.tar", "{root}/b/c/00000.tar"],
        ["@{root}/list.txt"],
        ["{root}/a", "{root}/b", "{root}/a/00001.tar"],
    ],
    ids=["folder", "folders", "glob", "deep glob", "braces", "list", "named twice"],
)
def test_all_ways_to_name_shards_give_the_same_tasks(patterns: list[str], corpus: Path) -> None:
    names = ["a/00000", "a/00001", "b/c/00000"]
    (corpus / "list.txt").write_text(
        "# a comment\n\n" + "".join(f"{corpus}/{n}.tar\n" for n in names)
    )
    plan = plan_shards(pattern.format(root=corpus) for pattern in patterns)
    assert plan.count == 3
    assert [task.shard for task in plan] == [f"{name}.tar" for name in names]
    assert [task.annotation for task in plan] == [f"{name}.parquet" for name in names]
    assert [task.url for task in plan] == [f"{corpus}/{name}.tar" for name in names]


def test_a_plan_can_be_gone_through_again(corpus: Path) -> None:
    plan = plan_shards([str(corpus)])
    assert list(plan) == list(plan)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("gone/*.tar", "no shard matches"),
        ("gone", "no such file or folder"),
        ("@gone.txt", "No such file"),
        ("{1..", "braces don't match"),
        ("nosuch://x/*.tar", "nosuch"),
        ("note.txt", "is neither a tar nor a Parquet file"),
    ],
)
def test_shards_that_arent_there_are_named(
    pattern: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "note.txt").write_text("hello")
    with pytest.raises(UserError, match=message) as caught:
        plan_shards([pattern])
    assert pattern.strip("@") in str(caught.value)


@pytest.mark.parametrize(
    "name", ["0[1].tar", "a{1,2}.tar", "what?.tar", "all*.tar", "set [x]/0.tar"]
)
def test_a_path_that_exists_is_itself_and_no_pattern(name: str, tmp_path: Path) -> None:
    write_tar(tmp_path / name, [])
    write_tar(tmp_path / "01.tar", [])
    (tmp_path / "list.txt").write_text(f"{tmp_path}/{name}\n")
    for pattern in (f"{tmp_path}/{name}", f"@{tmp_path}/list.txt"):
        assert [task.url for task in plan_shards([pattern])] == [f"{tmp_path}/{name}"]
    folder = (tmp_path / name).parent
    assert f"{tmp_path}/{name}" in {task.url for task in plan_shards([str(folder)])}


def test_a_glob_takes_shards_and_nothing_else(corpus: Path) -> None:
    (corpus / "a" / "00000.json").write_text("{}")
    with pytest.raises(
        InputError, match=r"a/\*: matches .*00000\.json, which is neither a tar nor a Par"
    ):
        plan_shards([f"{corpus}/a/*"])
    with pytest.raises(InputError, match=r"matches .*/a, which is neither a tar"):
        plan_shards([f"{corpus}/*"])
    assert plan_shards([f"{corpus}/a/*.tar"]).count == 2


@pytest.mark.parametrize("pattern", ["", "/*/*.tar", "/**/*.tar", "/[ab]*/0000?.tar"])
def test_a_folder_that_is_a_link_is_followed(
    pattern: str, corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_tar(elsewhere / "00007.tar", [])
    (corpus / "b" / "link").symlink_to(elsewhere)
    (corpus / "blink").symlink_to(elsewhere)
    names = {task.shard for task in plan_shards([f"{corpus}{pattern}"])}
    deep = "b/link/00007.tar"
    assert {"blink/00007.tar", "a/00001.tar"} <= names
    assert (deep in names) == (pattern in ("", "/**/*.tar"))


@pytest.mark.parametrize("target", [".", "..", "a"])
def test_links_in_a_circle_are_told(target: str, corpus: Path) -> None:
    (corpus / "b" / "link").symlink_to(corpus / "b" / target if target != "a" else corpus / "a")
    if target == "a":
        (corpus / "a" / "back").symlink_to(corpus / "b")
    for pattern in (str(corpus), f"{corpus}/**/*.tar"):
        with pytest.raises(InputError, match="is a link to a folder that contains it"):
            plan_shards([pattern])


def test_a_folder_that_cannot_be_listed_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Not a directory"):
        list(walk(str(write_tar(tmp_path / "0.tar", []))))


def test_a_byte_order_mark_is_no_part_of_a_name(corpus: Path) -> None:
    lines = "\n".join(f"{corpus}/a/0000{n}.tar" for n in range(2))
    (corpus / "list.txt").write_text(lines, "utf-8-sig")
    assert [task.shard for task in plan_shards([f"@{corpus}/list.txt"])] == [
        "00000.tar",
        "00001.tar",
    ]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("_x.tar", "begin with _"),
        ("_manifest.tar", "begin with _"),
        ("_compact.tar", "begin with _"),
        ("_old/x.tar", "begin with _"),
        ("a/_failed/x.tar", "begin with _"),
        (".x.tar", r"begin with \."),
        ("._x.tar", r"begin with \."),
        (".tar", r"begin with \."),
        ("a.parquet/x.tar", r"a folder a\.parquet looks like a Parquet file"),
        ("shard=0/x.tar", "read the folder shard=0 as a column shard"),
        ("a/Quality=1/x.tar", "read the folder Quality=1 as a column Quality"),
        ("x\ny.tar", "control characters"),
        ("%2e%2e/x.tar", "is ambiguous"),
        ("é" * 124 + ".tar", "over 255 bytes"),
        ("x" * 252 + "/x.tar", None),
        ("x" * 247 + ".tar", None),
        ("split=train/x.tar", None),
        ("a b/ü.tar", None),
        ("x_.tar", None),
    ],
)
def test_names_that_annotations_cannot_be_found_by_are_refused(
    name: str, says: str | None, tmp_path: Path
) -> None:
    write_tar(tmp_path / "0.tar", [])
    write_tar(tmp_path / name, [])
    if says is None:
        assert plan_shards([str(tmp_path)]).count == 2
        return
    with pytest.raises(InputError, match=says) as caught:
        plan_shards([str(tmp_path)])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", [])
    (tmp_path / os.fsdecode(b"x\xff.tar")).write_bytes(b"")
    with pytest.raises(InputError, match=r"x.+udcff\.tar' can't be in the name .* isn't UTF-8"):
        plan_shards([str(tmp_path)])


@pytest.mark.parametrize("place", ["../evil", "a/../../evil", "a/%2e%2E/evil", "a//evil", "./evil"])
def test_a_shard_of_a_url_does_not_lead_elsewhere(place: str) -> None:
    with pytest.raises(InputError, match=r"is ambiguous"):
        plan_shards(["http://h/c/x/0.tar", f"http://h/c/x/{place}.tar"])


def test_a_folder_of_an_earlier_run_is_checked_as_well(tmp_path: Path) -> None:
    write_tar(tmp_path / "_x" / "0.tar", [])
    plan = plan_shards([f"{tmp_path}/_x"])
    assert plan.count == 1, "what lies above all shards is no part of their names"
    with pytest.raises(InputError, match="begin with _"):
        plan.below(str(tmp_path))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("s3://b/m/00000.tar", "s3://b/m//00000.tar"),
        ("s3://b/a/b/00000.tar", "s3://b/a//b/00000.tar"),
        ("/corpus/\u00e9.tar", "/corpus/e\u0301.tar"),
        ("/corpus/\u00e9/0.tar", "/corpus/e\u0301/0.tar"),
    ],
    ids=["empty folder", "empty folder between", "Unicode", "Unicode of a folder"],
)
def test_two_shards_never_share_an_annotation(one: str, other: str, tmp_path: Path) -> None:
    for names in ([one, other], [other, one]):
        listed = tmp_path / "list.txt"
        listed.write_text("\n".join(names))
        with pytest.raises(InputError, match="would be one file") as caught:
            plan_shards([f"@{listed}"])
        assert repr(one) in str(caught.value)
        assert repr(other) in str(caught.value)


def test_an_empty_folder_is_refused_below_an_earlier_root() -> None:
    plan = plan_shards(["s3://b/m//00000.tar"])
    with pytest.raises(InputError, match="a part that is empty"):
        plan.below("s3://b/m")


def test_names_that_differ_in_case_are_refused_where_case_is_ignored(tmp_path: Path) -> None:
    for name in ("a/B.tar", "A/b.tar"):
        write_tar(tmp_path / name, [])
    plan = plan_shards([str(tmp_path)])
    with pytest.raises(InputError, match=r"b\.tar.* and .*B\.tar.* ignores case"):
        plan.check_case()


def test_no_shards_is_a_mistake() -> None:
    with pytest.raises(InputError, match="no shards given"):
        plan_shards([])


def test_storages_cant_be_mixed(corpus: Path) -> None:
    with pytest.raises(InputError, match="another storage"):
        plan_shards([f"{corpus}/a", "memory://bucket/x.tar"])


def test_a_part_of_a_corpus_keeps_the_names_of_the_whole(corpus: Path) -> None:
    plan = plan_shards([f"{corpus}/a/00001.tar"]).below(str(corpus))
    assert [task.shard for task in plan] == ["a/00001.tar"]


def test_another_corpus_doesnt_go_into_the_same_output(corpus: Path) -> None:
    with pytest.raises(OutputError, match="choose another --output"):
        plan_shards([f"{corpus}/a"]).below(f"{corpus}/b")


def test_many_shards_are_counted_and_looked_up_anew() -> None:
    """A million shards are in `make scale`."""
    plan = plan_shards(["/corpus/{000000..099999}.tar"])
    assert plan.count == 100_000
    assert next(iter(plan)).annotation == "000000.parquet"


def test_a_list_of_which_nothing_exists_is_a_mistake(corpus: Path) -> None:
    plan_shards([f"{corpus}/a/{{00000..99999}}.tar"]).check_found()  # a part may be missing
    with pytest.raises(InputError, match=r"aa/00000\.tar: can't be found"):
        plan_shards([f"{corpus}/aa/{{00000..99999}}.tar"]).check_found()


def test_on_a_server_that_isnt_there_no_shard_can_be_found() -> None:
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9/0\.tar: can't be found"):
        plan_shards(["http://127.0.0.1:9/0.tar"]).check_found()


@pytest.mark.parametrize(
    ("shards", "prefixes"),
    [
        (["a/0.tar", "a/1.tar", "b/0.tar"], ["a", "a", "b"]),
        (["photos-00.tar", "photos-01.tar", "art_2.tar"], ["photos", "photos", "art"]),
        ([f"{number:05}.tar" for number in range(120)], ["(top)"] * 120),
        (["in/photos-00.tar", "in/photos-01.tar"], ["in", "in"]),
        (["1.tar", "a.tar"], ["(top)", "a"]),
    ],
)
def test_a_part_of_a_corpus_is_a_folder_or_a_name_without_numbers(
    shards: list[str], prefixes: list[str]
) -> None:
    """Shards whose names only differ in numbers are one group."""
    assert shard_prefixes(shards) == dict(zip(shards, prefixes, strict=True))


@pytest.mark.parametrize(
    ("inputs", "planned"),
    [
        (["{root}"], ["a/0.tar", "a/1.tar", "b/0.tar"]),
        (["{root}/a/{{0..1}}.tar"], ["a/0.tar", "a/1.tar"]),
        (["{root}/a", "{root}/b/*.tar"], ["a/0.tar", "a/1.tar", "b/0.tar"]),
        (["@{root}.txt"], ["a/0.tar", "a/1.tar", "b/0.tar"]),
    ],
)
def test_of_a_corpus_that_has_moved_the_same_shards_are_planned(
    inputs: list[str], planned: list[str], tmp_path: Path
) -> None:
    root, moved = tmp_path / "in", tmp_path / "moved"
    for name in ("a/0", "a/1", "b/0"):
        write_tar(moved / f"{name}.tar", [])
    given = [pattern.format(root=root) for pattern in inputs]
    plan = plan_moved(given, str(root), str(moved), TARS)
    assert (plan.root, [task.shard for task in plan]) == (str(moved), planned)
