"""Keys follow webdataset; a shard that isn't whole is an error, not a shorter shard."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
from hypothesis import strategies as st
from webdataset.tariterators import base_plus_ext

from shardsift.errors import ShardError
from shardsift.records import Sample
from shardsift.shards.tar_samples import key_and_extension, read_tar
from tests.fuzz.tars import Member, build
from tests.samples import encoded, picture, saved, tar_bytes, write_tar


def samples_of(path: Path) -> list[Sample]:
    return list(read_tar(str(path), path.name))


def passed_over(path: Path) -> dict[str, int]:
    counts = Counter[str]()
    list(read_tar(str(path), path.name, counts))
    return {str(code): number for code, number in counts.items() if number}


def test_neighbouring_files_of_one_key_make_a_sample(tmp_path: Path) -> None:
    image = encoded()
    tar = write_tar(
        tmp_path / "a.tar",
        [
            ("x/1.JPG", image),
            ("x/1.json", b'{"uid": "u1"}'),
            ("x/1.txt", b"words"),
            ("2.png", b"p"),
        ],
    )
    first, second = samples_of(tar)
    assert (first.key, first.index, first.uid) == ("x/1", 0, "u1")
    assert first.image is not None
    assert (first.image.extension, first.image.data) == ("jpg", image)
    assert (second.key, second.index, second.uid) == ("2", 1, None)


def test_offset_and_size_find_the_image_in_the_tar(tmp_path: Path) -> None:
    image = encoded()
    tar = write_tar(tmp_path / "a.tar", [("1.txt", b"words"), ("1.jpg", image)])
    (sample,) = samples_of(tar)
    assert sample.image is not None
    assert sample.image.offset is not None
    begin = sample.image.offset
    assert tar.read_bytes()[begin : begin + sample.image.size] == image


def test_a_sample_without_an_image_to_decode_says_why(tmp_path: Path) -> None:
    files = [("1.txt", b"words"), ("2.heic", b"x"), ("3.jpg", encoded())]
    problems = [sample.problem for sample in samples_of(write_tar(tmp_path / "a.tar", files))]
    assert [problem and (str(problem.code), str(problem)) for problem in problems] == [
        ("missing_image", "none of the sample's files is an image"),
        ("unsupported_format", ".heic can't be decoded"),
        None,
    ]


def test_keys_may_end_at_the_last_dot(tmp_path: Path) -> None:
    names = ["IMG.2020.jpg", "IMG.2020.json", "IMG.2021.jpg"]
    tar = write_tar(tmp_path / "a.tar", [(name, b"{}") for name in names])
    found = [sample.key for sample in read_tar(str(tar), key_by="stem")]
    assert found == ["IMG.2020", "IMG.2021"]


NAMES = st.lists(
    st.tuples(
        st.sampled_from(
            ["a", "b", "x/a", "x.y/a", "IMG.2020", "IMG.2021", "UPPER", "x/", "__m__", ""]
        ),
        st.sampled_from(["jpg", "JPG", "json", "txt", "seg.png", "cls", ""]),
    ).map(".".join),
    max_size=12,
)


def test_names_are_split_where_webdataset_splits_them() -> None:
    for length in range(1, 8):
        for letters in product("aB./\n", repeat=length):
            name = "".join(letters)
            key, extension = base_plus_ext(name)
            theirs = None if key is None else (key, (extension or "").lower())
            assert key_and_extension(name) == theirs, repr(name)


@pytest.mark.parametrize("hidden", ["./._1.jpg", "set.v1/.1.swp", "a.b/.DS_Store", "x.y/z/./.a.b"])
def test_hidden_files_split_no_sample(hidden: str, tmp_path: Path) -> None:
    folder = hidden.rpartition("/")[0]
    files = [(f"{folder}/1.jpg", encoded()), (hidden, b"x"), (f"{folder}/1.txt", b"words")]
    assert len(samples_of(write_tar(tmp_path / "a.tar", files))) == 1


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (["1.json", "2.json", "1.jpg", "2.jpg", "1.txt", "2.txt"], 2),
        (["1.jpg", "2.jpg", "2.txt", "1.txt"], 1),
        (["1.jpg", "1.txt", "2.jpg", "2.txt"], 0),
        (["1.jpg", "1.jpg", "2.jpg", "1.jpg"], 0),
    ],
    ids=["sorted by extension", "one apart", "in order", "a repeated key"],
)
def test_keys_whose_files_dont_stand_together_are_counted(
    names: list[str], split: int, tmp_path: Path
) -> None:
    tar = write_tar(tmp_path / "a.tar", [(name, b"x") for name in names])
    assert passed_over(tar) == ({"split_keys": split} if split else {})


def test_hard_links_are_counted(tmp_path: Path) -> None:
    link = Member("2.jpg", b"", kind=b"1")
    tar = tmp_path / "a.tar"
    tar.write_bytes(build([Member("1.jpg", encoded()), link, link]))
    assert passed_over(tar) == {"hard_links": 2}


@pytest.mark.parametrize(
    "json_file", [json.dumps({"uid": "u" * 1025}), json.dumps({"uid": "u"}) + " " * (4 << 20)]
)
def test_a_uid_that_would_fill_the_memory_is_left_out_and_counted(
    json_file: str, tmp_path: Path
) -> None:
    tar = write_tar(tmp_path / "a.tar", [("1.jpg", encoded()), ("1.json", json_file.encode())])
    assert [sample.uid for sample in samples_of(tar)] == [None]
    assert passed_over(tar) == {"long_uids": 1}


def test_a_name_that_no_file_can_have_is_the_shards_fault(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", [("x" * 5000 + ".jpg", encoded())])
    with pytest.raises(ShardError, match="a file's name of 5,004 characters"):
        samples_of(tar)


@pytest.mark.parametrize("pages", [1, 2, 5])
def test_further_pages_of_a_tiff_are_counted(pages: int, tmp_path: Path) -> None:
    pictures = [picture(seed=page) for page in range(pages)]
    tiff = saved(pictures[0], "TIFF", save_all=True, append_images=pictures[1:])
    tar = write_tar(tmp_path / "a.tar", [("1.tif", tiff)])
    assert passed_over(tar) == ({"further_pages": pages - 1} if pages > 1 else {})


def test_dots_in_names_share_a_key_and_the_further_image_is_counted(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", [("IMG.2020.jpg", b"1"), ("IMG.2021.jpg", b"2")])
    (sample,) = samples_of(tar)
    assert sample.key == "IMG"
    assert passed_over(tar) == {"further_images": 1}


@pytest.mark.parametrize(
    ("fields", "uid"),
    [
        ({"uid": "u", "sha256": "s"}, "u"),
        ({"sha256": "s"}, "s"),
        ({"uid": 12}, "12"),
        ({"uid": None}, None),
        ({"caption": "no uid"}, None),
        (["a list"], None),
    ],
)
def test_uid_comes_from_the_json(fields: object, uid: str | None, tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", [("1.jpg", b"i"), ("1.json", json.dumps(fields).encode())])
    assert samples_of(tar)[0].uid == uid


def test_the_image_is_chosen_over_masks_and_what_cant_be_decoded(tmp_path: Path) -> None:
    files = [("1.mask.png", b"m"), ("1.heic", b"h"), ("1.jpg", b"j")]
    (sample,) = samples_of(write_tar(tmp_path / "a.tar", files))
    assert sample.image is not None
    assert sample.image.extension == "jpg"
    assert passed_over(tmp_path / "a.tar") == {"further_images": 2}


def test_an_empty_tar_has_no_samples(tmp_path: Path) -> None:
    assert samples_of(write_tar(tmp_path / "a.tar", [])) == []


def test_a_cut_anywhere_is_an_error(tmp_path: Path) -> None:
    """Also at a header boundary, where webdataset yields the first half without a word."""
    whole = tar_bytes([(f"{number}.jpg", encoded(seed=number)) for number in range(3)])
    end = len(whole.rstrip(b"\0"))
    for length in [*range(0, end + 512, 512), 1, 511, end, end + 513]:
        path = tmp_path / "cut.tar"
        path.write_bytes(whole[:length])
        with pytest.raises(ShardError, match=r"cut\.tar"):
            samples_of(path)


def test_tars_joined_with_cat_are_an_error_and_not_half_the_samples(tmp_path: Path) -> None:
    path = tmp_path / "joined.tar"
    path.write_bytes(tar_bytes([("1.jpg", b"a")]) + tar_bytes([("2.jpg", b"b")]))
    with pytest.raises(ShardError, match="has data after its end"):
        samples_of(path)


def test_a_missing_shard_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"gone\.tar: can't be read: No such file"):
        samples_of(tmp_path / "gone.tar")


def test_names_that_are_not_utf8_become_readable_and_stay_apart(tmp_path: Path) -> None:
    names = ["\udcff.jpg", "\udcfe.jpg", "é.jpg", "a.\udcff"]  # how Python spells odd bytes
    tar = write_tar(tmp_path / "a.tar", [(name, b"") for name in names])
    assert [sample.key for sample in samples_of(tar)] == ["\\xff", "\\xfe", "é", "a"]


def test_a_uid_with_half_a_character_becomes_readable(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", [("1.json", b'{"uid": "\\ud800!"}')])
    assert samples_of(tar)[0].uid == "\\ud800!"


def test_memory_does_not_grow_with_the_shard(tmp_path: Path) -> None:
    def peak(samples: int) -> int:
        image = bytes(1 << 20)
        tar = write_tar(tmp_path / f"{samples}.tar", [(f"{n}.jpg", image) for n in range(samples)])
        tracemalloc.start()
        for _ in read_tar(str(tar)):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert peak(60) < 1.1 * peak(6)
