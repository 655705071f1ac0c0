"""A command that is shown can be run."""

from __future__ import annotations

import shlex

from shardsift.commands import beside, command


def test_what_a_shell_would_take_apart_is_quoted() -> None:
    words = ["/my corpus/$x", "--where", "key != 'a'"]
    assert shlex.split(command("filter", *words)) == ["shardsift", "filter", *words]


def test_a_folder_beside_another() -> None:
    assert beside("s3://bucket/scores/", "kept") == "s3://bucket/scores-kept"
