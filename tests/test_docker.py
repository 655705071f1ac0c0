"""The Dockerfile and the compose file, as far as they can be checked without a Docker engine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docker"


@pytest.mark.parametrize(
    "linter",
    [
        ["hadolint", str(FOLDER / "Dockerfile")],
        [
            *("check-jsonschema", "--builtin-schema", "vendor.compose-spec"),
            str(FOLDER / "compose.yaml"),
        ],
    ],
    ids=["hadolint", "compose-spec"],
)
def test_linters_find_nothing(linter: list[str]) -> None:
    command, *arguments = linter
    path = Path(sys.executable).with_name(command)
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
