"""Pictures in folders are samples; what else lies there is passed over and counted."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from shardsift.errors import InputError
from shardsift.reading import Reading
from shardsift.records import Sample
from shardsift.shards import folders
from shardsift.shards.plan import plan_shards
from shardsift.shards.readers import identify_shard, read_file, read_samples
from tests.samples import encoded, write_tar


def folder_of(root: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(seed=seed))
    return root


def samples_of(root: Path, counts: Counter[str] | None = None) -> list[Sample]:
    return [s for task in plan_shards([str(root)]) for s in read_samples(task, counts)]


def keys_of(root: Path) -> list[str]:
    return [sample.key for sample in samples_of(root)]


def test_each_picture_is_a_sample_whose_key_is_its_path(tmp_path: Path) -> None:
    names = [
        "10.jpg",
        "9.jpg",
        "2.jpg",
        "Screenshot 2024.05.02 at 10.01.jpg",
        "Screenshot 2024.05.02 at 10.02.jpg",
        "photo.jpg",
        "photo.png",
        "IMG_0001.JPG",
        "scan.jpeg",
        "scan.pjpeg",
        "scan.jpg_large",
        "new\nline.jpg",
        "2024/Mai/Ä ö.jpg",
    ]
    found = keys_of(folder_of(tmp_path, *names))
    assert sorted(found) == sorted(names)
    assert [key for key in found if key[0].isdigit()] == [
        "2.jpg",
        "9.jpg",
        "10.jpg",
        "2024/Mai/Ä ö.jpg",
    ]


def test_what_is_no_picture_is_passed_over_and_counted(tmp_path: Path) -> None:
    folder_of(tmp_path, "a/1.jpg", "a/._1.jpg", ".DS_Store", "Thumbs.db", "__MACOSX/1.jpg")
    folder_of(tmp_path, "notes.pdf", "clip.mp4", "docs/more.pdf", "b/.hidden/1.jpg")
    (tmp_path / "odd.xyz").write_bytes(b"not a picture")
    (tmp_path / "loop").symlink_to("..")
    os.mkfifo(tmp_path / "pipe.jpg")
    counts = Counter[str]()
    assert [sample.key for sample in samples_of(tmp_path, counts)] == ["a/1.jpg"]
    assert {str(code): number for code, number in counts.items() if number} == {
        "hidden": 5,
        "no_pictures": 5,
        "circles": 1,
    }


def test_a_file_that_cant_be_read_gets_a_reason(tmp_path: Path) -> None:
    folder_of(tmp_path, "1.jpg")
    (tmp_path / "2.jpg").symlink_to("gone")
    (tmp_path / "3.heic").write_bytes(b"x")
    problems = [sample.problem and sample.problem.code for sample in samples_of(tmp_path)]
    assert problems == [None, "missing_image", "unsupported_format"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all files")
def test_a_secret_file_gets_a_reason(tmp_path: Path) -> None:
    folder_of(tmp_path, "1.jpg")
    (tmp_path / "1.jpg").chmod(0)
    (sample,) = samples_of(tmp_path)
    assert sample.problem is not None
    assert "Permission denied" in str(sample.problem)


def test_a_json_belongs_to_the_one_picture_of_its_stem(tmp_path: Path) -> None:
    folder_of(tmp_path, "1.jpg", "2.jpg", "2.png")
    for stem in ("1", "2"):
        (tmp_path / f"{stem}.json").write_text(f'{{"uid": "u{stem}"}}')
    assert [(s.key, s.uid) for s in samples_of(tmp_path)] == [
        ("1.jpg", "u1"),
        ("2.jpg", None),
        ("2.png", None),
    ]


def test_a_shard_is_a_folder_of_at_most_10000_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "FILES_OF_SHARD", 2)
    folder_of(tmp_path, *(f"a/{n}.jpg" for n in range(5)), "b/1.jpg")
    assert {t.shard: len(list(read_samples(t))) for t in plan_shards([str(tmp_path)])} == {
        "00000.pictures": 0,
        "a/00000.pictures": 2,
        "a/00001.pictures": 2,
        "a/00002.pictures": 1,
        "b/00000.pictures": 1,
    }


def test_folders_that_readers_would_skip_get_names_that_they_dont(tmp_path: Path) -> None:
    folder_of(tmp_path, "_old/1.jpg", "crops=4/1.jpg", "100%/1.jpg", "x.parquet.d/1.jpg")
    plan = plan_shards([str(tmp_path)])
    assert [task.annotation for task in plan] == [
        "00000.parquet",
        "100%25/00000.parquet",
        "%5Fold/00000.parquet",
        "crops%3D4/00000.parquet",
        "x.parquet.d/00000.parquet",
    ]
    assert len([s for task in plan for s in read_samples(task)]) == 4


def test_a_new_or_changed_picture_changes_its_shard_alone(tmp_path: Path) -> None:
    folder_of(tmp_path, "a/1.jpg", "b/1.jpg")
    before = {task.shard: identify_shard(task) for task in plan_shards([str(tmp_path)])}
    folder_of(tmp_path, "b/2.jpg")
    after = {task.shard: identify_shard(task) for task in plan_shards([str(tmp_path)])}
    assert {shard for shard in after if after[shard] != before[shard]} == {"b/00000.pictures"}


def test_a_picture_is_found_again_by_its_key(tmp_path: Path) -> None:
    folder_of(tmp_path, "1.jpg", "a/2.jpg")
    row = {"shard": "a/00000.pictures", "key": "a/2.jpg", "index": 0}
    found = read_file(str(tmp_path), row, Reading(kind="pictures"))
    assert found == (tmp_path / "a" / "2.jpg").read_bytes()


def test_tars_in_a_folder_are_what_is_meant(tmp_path: Path) -> None:
    folder_of(tmp_path, "preview.jpg")
    write_tar(tmp_path / "0.tar", [("1.jpg", encoded())])
    plan = plan_shards([str(tmp_path)])
    assert ([task.shard for task in plan], plan.reading.kind) == (["0.tar"], "tar")


def test_a_folder_without_pictures_says_what_to_name(tmp_path: Path) -> None:
    (tmp_path / "notes.pdf").touch()
    with pytest.raises(InputError, match=r"no \.tar, no \.parquet and no picture; name the f"):
        plan_shards([str(tmp_path)])


@pytest.mark.parametrize("option", [{"image": "jpg"}, {"key": "name"}, {"key_by": "stem"}])
def test_options_of_other_kinds_are_refused(option: dict[str, str], tmp_path: Path) -> None:
    folder_of(tmp_path, "1.jpg")
    with pytest.raises(InputError, match=r"for Parquet files|for tars"):
        plan_shards([str(tmp_path)], Reading.model_validate(option))
