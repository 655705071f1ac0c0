"""The wheel in an environment of its own, used in a folder whose names would get in its way."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.environments import make_bare_environment
from tests.samples import write_shards

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Project:
    """Somebody's project: modules with our former names, and the wheel installed for it."""

    folder: Path
    commands: Path

    def run(self, command: str, *arguments: str) -> str:
        """Run a command of the environment in the project; return its output."""
        done = subprocess.run(
            [self.commands / command, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(self.folder)},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = ["wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run(
        [sys.executable, "-m", "pip", *build, f"--wheel-dir={folder}", str(ROOT)], check=True
    )
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def project(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("project")
    for name in ("pipeline", "jobs", "configs", "tests"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"raise ImportError('{name} of the user')\n")
    commands = make_bare_environment(tmp_path_factory.mktemp("environment"))
    pip = [sys.executable, "-m", "pip", f"--python={commands / 'python'}"]
    install = ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([*pip, *install], check=True)
    return Project(folder, commands)


def test_the_wheel_holds_one_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"shardsift"}
    assert "shardsift/configs/laptop.yaml" in names
    assert "shardsift/configs/heads/laion-aesthetic-v2.yaml" in names
    assert "shardsift/models/compact_model/weights.safetensors" in names
    assert {f"shardsift/reporting/templates/{name}" for name in ("report.html", "rows.js")} <= {
        *names
    }
    assert "shardsift/py.typed" in names


def test_an_index_would_take_it(wheel: Path) -> None:
    for check in (["twine", "check", "--strict"], ["check-wheel-contents"]):
        command = [str(Path(sys.executable).with_name(check[0])), *check[1:], str(wheel)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_links_lead_somewhere_from_an_index_too(wheel: Path) -> None:
    (metadata,) = [
        zipfile.Path(wheel, name).read_text()
        for name in zipfile.ZipFile(wheel).namelist()
        if name.endswith(".dist-info/METADATA")
    ]
    links = re.findall(r"\]\((.*?)\)", metadata)
    assert links
    assert all(link.startswith("https://") for link in links)


def test_commands_answer(project: Project) -> None:
    assert "score" in project.run("shardsift", "--help")
    assert "score" in project.run("python", "-m", "shardsift", "--help")


def test_the_library_is_imported(project: Project) -> None:
    script = "from shardsift import Scorer; print(Scorer.__module__)"
    assert project.run("python", "-c", script) == "shardsift.scoring.scorer\n"


def test_two_actors_score_with_a_config_of_the_wheel_and_pages_show_it(project: Project) -> None:
    shards = write_shards(project.folder / "in", shards=2, samples=2)
    project.run("shardsift", "score", str(shards), "--output", "out", "--config", "demo")
    rows = pq.read_table(project.folder / "out").to_pylist()
    assert [row["error"] for row in rows] == [None] * 4
    project.run("shardsift", "report", "out", "--output", "pages")
    project.run("shardsift", "compare", "out", "out", "--output", "pages")
    for page in ("report.html", "comparison.html"):
        assert "<!doctype html>" in (project.folder / "pages" / page).read_text()
