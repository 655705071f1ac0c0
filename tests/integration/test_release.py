"""The release, installed as the pages say: `make release-check`, minutes."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.documentation import ROOT, commands

pytestmark = pytest.mark.skipif(
    "SHARDSIFT_TEST_RELEASE" not in os.environ, reason="make release-check runs it; minutes"
)

INSTALLS = sorted({line for _, line in commands() if line.startswith("pip install")}, key=len)

Run = Callable[[str], str]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of wheels: ours, and all that they need."""
    folder = tmp_path_factory.mktemp("index")
    build = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True)
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--prefer-binary"]
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*download, "--dest", str(folder), f"{wheel}[all]"], check=True)
    return folder


@pytest.fixture(scope="module")
def run(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a line in a fresh environment whose pip knows nothing but that folder."""
    folder = tmp_path_factory.mktemp("machine")
    venv.create(folder / "venv", with_pip=True)
    path = f"{folder / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    only = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "PIP_CONFIG_FILE": os.devnull}

    def run_line(line: str) -> str:
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=folder,
            env=os.environ | only | {"PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}"
        return done.stdout

    return run_line


def test_the_smallest_install_answers_and_scores(run: Run) -> None:
    run("pip install shardsift")
    assert "score" in run("shardsift --help")
    assert run("pip check").strip() == "No broken requirements found."
    said = run("shardsift demo --output demo || true")
    assert "pip install 'shardsift[demo]'" in said


@pytest.mark.parametrize("line", INSTALLS)
def test_every_install_line_of_the_pages_works(run: Run, index: Path, line: str) -> None:
    run(line.replace("--find-links wheels", f"--find-links {index}"))


def test_the_first_tutorial_goes_through(run: Run) -> None:
    lines = [line for page, line in commands() if page == "docs/tutorials/first-corpus.md"]
    first = lines.index("shardsift demo --output demo")
    for line in lines[first : lines.index("shardsift verify clean") + 1]:
        run(line.replace(" --open", ""))
