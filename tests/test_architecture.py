"""Imports point down, and each heavy dependency has one owner."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "jobs").rglob("*.py")])

LAYERS = [
    {"errors", "records"},
    {"config", "redaction", "local", "remote", "storage", "ranges"}
    | {"clock", "drawing", "heap", "overlap", "sketch"},
    {"plan", "shards", "truncation", "images", "scoring", "annotations", "compacted", "manifest"},
    {"annotate", "output", "lease", "curation", "evaluation", "iqasets", "report", "training"},
    {"verify", "soundness"},
]
"""From the ground up; a module imports from its own layer and those below."""

OWNERS = {
    "ray": ["jobs"],
    "open_clip": [
        "pipeline/scoring/encoder.py",
        "pipeline/training/model.py",
        "jobs/benchmarks",
    ],
    "matplotlib": ["jobs/benchmarks/chart.py", "pipeline/drawing.py"],
    "brisque": ["pipeline/evaluation/baselines.py"],
    "fsspec": ["pipeline/storage.py"],
    "tenacity": ["pipeline/remote.py"],
    "webdataset": ["jobs/demo.py", "jobs/benchmarks/corpus.py"],
    "datasketches": ["pipeline/sketch.py"],
    "sqlglot": ["pipeline/curation/where.py"],
    "typer": [
        "jobs/cli",
        "jobs/train_compact.py",
        "jobs/measure_compact.py",
        "jobs/measure_exactness.py",
        "jobs/measure_plans.py",
        "jobs/measure_reshard.py",
    ],
    "rich": ["jobs"],
    "PIL": [
        "pipeline/images.py",
        "pipeline/truncation.py",
        "pipeline/report",
        "pipeline/training",
        "jobs",
    ],
    "yaml": ["pipeline/config.py"],
    "torch": ["pipeline/evaluation", "pipeline/scoring", "pipeline/training", "jobs"],
}
"""Who may import what; anything else goes through the owner."""


def imports(path: Path) -> set[str]:
    """Names of all modules that a file imports, lazily or not."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    package, *rest = path.relative_to(ROOT).with_suffix("").parts
    ours = [module.split(".") for module in imports(path)]
    if package == "pipeline":
        assert not [module for module in ours if module[0] in ("jobs", "tests", "configs")]
    level = next((n for n, layer in enumerate(LAYERS) if rest[0] in layer), None)
    if package == "pipeline" and rest[0] != "__init__":
        assert level is not None, f"{name_of(path)} has no layer; give it one"
        above = set[str]().union(*LAYERS[level + 1 :])
        assert not [module for module in ours if module[0] == "pipeline" and module[1] in above]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_heavy_dependencies_have_one_owner(path: Path) -> None:
    for dependency in {module.split(".")[0] for module in imports(path)} & OWNERS.keys():
        assert name_of(path).startswith(tuple(OWNERS[dependency])), (
            f"{dependency} in {name_of(path)}"
        )


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_stay_under_300_lines_and_functions_under_40(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= 300
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and not name_of(path).startswith("jobs/cli"):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 40, f"{node.name} is too long"


def test_the_library_prints_nothing() -> None:
    for path in SOURCES:
        calls = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
        ]
        names = {call.func.id for call in calls if isinstance(call.func, ast.Name)}
        assert "print" not in names, name_of(path)
