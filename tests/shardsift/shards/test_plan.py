"""Which shards a run is made of, and what their annotations are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardsift.errors import InputError, OutputError, UserError
from shardsift.shards.plan import plan_shards
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
        ("note.txt", "has to end in .tar"),
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
    """What a million take is `make scale`'s."""
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
