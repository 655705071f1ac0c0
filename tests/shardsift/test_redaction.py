"""A URL that is shown doesn't open the store that it points to."""

from __future__ import annotations

import pytest

from shardsift.redaction import reason, redact, shown_cause


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://key:sec/ret+@bucket/a.tar: gone", "s3://…@bucket/a.tar: gone"),
        ("https://token@host/a.tar", "https://…@host/a.tar"),
        ("ftp://me:p@host:21/a.tar", "ftp://…@host:21/a.tar"),
        ('Invalid bucket name "key:sec/ret@bucket"', 'Invalid bucket name "…@bucket"'),
        ("https://h/a.tar?X-Amz-Signature=ab&X-Amz-Date=1 is late", "https://h/a.tar?… is late"),
        ("url='https://h/a?sig=ab'", "url='https://h/a?…'"),
        ("https://h/a.tar?sig=a.b: gone", "https://h/a.tar?…: gone"),
        ("(see https://h/a.tar?sig=ab), or not", "(see https://h/a.tar?…), or not"),
    ],
)
def test_logins_and_query_strings_go(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/0000?.tar",
        "s3://bucket/what?/a.tar",
        "http://host:9000/mail@home/a.tar",
        "s3://bucket/mail@home/a.tar",
        "/data/a:b/c.tar: No such file or directory",
        "write to me@example.org",
    ],
)
def test_the_rest_stays(text: str) -> None:
    assert redact(text) == text


def test_a_reason_is_one_line() -> None:
    assert reason(OSError(28, "No space left on device", "/a")) == "No space left on device"
    assert reason(ValueError("one\n  two")) == "one two"
    assert reason(TimeoutError()) == "TimeoutError"


def test_a_cause_that_tells_a_secret_is_not_chained() -> None:
    harmless, telling = ValueError("s3://bucket/a"), ValueError("s3://key:secret@bucket/a")
    assert shown_cause(harmless) is harmless
    assert shown_cause(telling) is None
