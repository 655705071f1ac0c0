"""Each dependency has one owner, files stay small, docstrings begin with their subject.

`lint-imports` holds the layers.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pipeline" / "shardsift"
SOURCES = sorted(PACKAGE.rglob("*.py"))
ROOMS = ("pipeline", "jobs", "tests")

OWNERS = {
    "datasketches": ["outputs/sketch.py"],
    "duckdb": ["filtering/database.py", "filtering/expressions.py"],
    "fsspec": ["storage/files.py"],
    "huggingface_hub": ["scoring/clip.py"],
    "jinja2": ["reporting/html.py"],
    "matplotlib": ["drawing.py"],
    "open_clip": ["scoring/clip.py"],
    "PIL": ["images/", "shards/samples.py", "reporting/pictures.py", "cli/verbs/demo.py"],
    "ray": ["engine/"],
    "rich": ["cli/"],
    "simplejpeg": ["images/jpeg.py"],
    "tenacity": ["storage/remote.py"],
    "torch": ["scoring/", "engine/cluster.py"],
    "typer": ["cli/"],
    "webdataset": ["cli/verbs/demo.py"],
    "yaml": ["config/loading.py"],
}
"""Files that may import a dependency; all others go through them."""

OPENINGS = ("Of", "What", "Who", "Whose", "Whatever", "Whether", "How", "It", "Let", "Tell", "Say")
"""First words that leave the subject of a docstring open."""


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@cache
def imports(path: Path) -> set[str]:
    """Packages that a file imports, lazily or not."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_heavy_dependencies_have_one_owner() -> None:
    for path in SOURCES:
        for dependency in imports(path) & OWNERS.keys():
            assert name_of(path).startswith(tuple(OWNERS[dependency])), (name_of(path), dependency)


def test_owners_use_what_they_own() -> None:
    for dependency, owners in OWNERS.items():
        users = [name_of(path) for path in SOURCES if dependency in imports(path)]
        for owner in owners:
            assert any(user.startswith(owner) for user in users), (owner, dependency)


def test_files_stay_under_600_lines_and_functions_under_60() -> None:
    for path in SOURCES:
        source = path.read_text()
        assert len(source.splitlines()) <= 600, name_of(path)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                first = node.body[1 if ast.get_docstring(node) and len(node.body) > 1 else 0]
                assert node.end_lineno is not None
                assert node.end_lineno - first.lineno < 60, (name_of(path), node.name)


def test_docstrings_begin_with_their_subject_or_an_imperative() -> None:
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                text = node.value.value
                word = text.split(maxsplit=1)[:1] if isinstance(text, str) else []
                assert not {*word} & {*OPENINGS}, f"{path}:{node.lineno}: {text}"


def test_packages_name_files_that_they_have() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        named = re.findall(
            r"^(\w+\.py) ", ast.get_docstring(ast.parse(path.read_text())) or "", re.M
        )
        assert [name for name in named if not (path.parent / name).exists()] == [], name_of(path)
