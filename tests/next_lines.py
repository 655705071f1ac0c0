"""Follow what commands say is next."""

from __future__ import annotations

import shlex

import pytest

from shardsift.cli.app import main


def follow(
    words: list[str], capsys: pytest.CaptureFixture[str], until: str | None = None
) -> list[str]:
    """Run a command and the suggested next ones, `until` a verb; return their verbs."""
    verbs: list[str] = []
    while words[0] != until:
        capsys.readouterr()
        assert main(words) == 0, words
        verbs.append(words[0])
        said = capsys.readouterr().err.splitlines()
        lines = [line.removeprefix("next: ") for line in said if line.startswith("next: ")]
        if not lines:
            return verbs
        (line,) = lines
        program, *words = shlex.split(line)
        assert program == "shardsift"
    return verbs
