"""The images and the compose file, as far as they can be checked without a Docker engine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import typer.main
import yaml

from jobs.cli import app

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
COMPOSE_FILE = ROOT / "docker" / "compose.yaml"
SERVICES: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())["services"]


def stages() -> dict[str, str]:
    """The text of each stage, by its name."""
    _, *parts = re.split(r"^FROM ", DOCKERFILE.read_text(), flags=re.MULTILINE)
    named = [(re.match(r"\S+ AS (\w+)", part), part) for part in parts]
    return {name[1]: part for name, part in named if name}


@pytest.mark.parametrize(
    "linter",
    [
        ["hadolint", str(DOCKERFILE)],
        ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE_FILE)],
    ],
    ids=["hadolint", "compose-spec"],
)
def test_linters_find_nothing(linter: list[str]) -> None:
    command, *arguments = linter
    path = Path(sys.executable).with_name(command)
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_neither_image_holds_what_only_the_build_needs() -> None:
    assert stages()["cpu"].startswith("runtime ")
    assert stages()["cuda"].startswith("runtime ")
    assert "pip install" not in stages()["runtime"]


def test_a_container_is_nobodys_root() -> None:
    runtime = stages()["runtime"]
    assert "--uid 1000" in runtime
    assert "--owner=shardsift" in runtime, "a volume at /data takes over its owner"
    as_user = (runtime + stages()["cpu"] + stages()["cuda"]).partition("\nUSER 1000:1000\n")[2]
    assert as_user
    assert not re.search(r"^(RUN|COPY|USER) ", as_user, re.MULTILINE)


def test_what_is_copied_exists_and_is_let_through() -> None:
    ignore = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in ignore
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", stages()["build"], re.MULTILINE)
    for source in " ".join(copied).split():
        assert (ROOT / source).exists()
        assert f"!{source}" in ignore


def test_its_extras_are_declared() -> None:
    (extras,) = re.findall(r"'\.\[([\w,]+)\]'", stages()["build"])
    for extra in extras.split(","):
        assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text()


def test_no_registry_is_named() -> None:
    for path in DOCKERFILE.parent.iterdir():
        assert not re.search(r"https?://(?!head:|localhost:)", path.read_text()), path.name


def test_the_cluster_is_a_head_and_two_workers_that_wait_for_it() -> None:
    head, worker = SERVICES["head"], SERVICES["worker"]
    assert {"--head", "--block", "--port=6379"} <= set(head["command"])
    assert {"--address=head:6379", "--block"} <= set(worker["command"])
    assert worker["deploy"]["replicas"] == 2
    assert worker["depends_on"]["head"]["condition"] == "service_healthy"
    assert head["healthcheck"]["test"][-1] == "http://localhost:8265"


def test_the_demo_is_submitted_to_the_cluster_with_flags_that_exist() -> None:
    command = cast(list[str], SERVICES["demo"]["command"])
    assert command[:4] == ["ray", "job", "submit", "--address=http://head:8265"]
    job = command[command.index("--") + 1 :]
    assert job[:3] == ["python", "-m", "jobs.demo"]
    verbs: Any = typer.main.get_command(app)
    context = verbs.commands["demo"].make_context("demo", job[3:])
    assert context.params["output"] == Path("/data/demo")


@pytest.mark.parametrize("name", ["head", "worker", "demo"])
def test_every_node_has_the_image_and_sees_the_same_data(name: str) -> None:
    service = SERVICES[name]
    assert service["volumes"] == ["data:/data"]
    assert service["build"]["target"] in stages()
    assert (COMPOSE_FILE.parent / service["build"]["context"]).resolve() == ROOT
    assert (ROOT / service["build"]["dockerfile"]).exists()
    assert "ports" not in service, "Ray runs what it is sent"
