"""Numbers are written as people do, and a command that is shown can be run."""

from __future__ import annotations

import shlex

import pytest

from shardsift.text import at_most, beside, byte_size, command, count


def test_what_a_shell_would_take_apart_is_quoted() -> None:
    words = ["/my corpus/$x", "--where", "key != 'a'"]
    assert shlex.split(command("filter", *words)) == ["shardsift", "filter", *words]


def test_a_folder_beside_another() -> None:
    assert beside("s3://bucket/scores/", "kept") == "s3://bucket/scores-kept"


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 shards"), (1, "1 shard"), (9999, "9,999 shards")]
)
def test_numbers_agree_with_their_nouns(number: int, text: str) -> None:
    assert count(number, "shard") == text


def test_bytes_are_written_as_people_do() -> None:
    assert [byte_size(size) for size in (0, 999, 1_234_567)] == ["0B", "999B", "1.2MB"]


def test_a_bound_is_rounded_up_so_that_it_holds() -> None:
    assert [at_most(share) for share in (0.0, 0.000001, 0.0133, 1.0)] == [
        *("0.000%", "0.001%", "1.330%", "100.000%")
    ]
