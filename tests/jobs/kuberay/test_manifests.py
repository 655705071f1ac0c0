"""The manifests are what KubeRay and Kubernetes take, and their commands what we and Ray take."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import jsonschema
import kubernetes_validate
import pytest
import ray
import typer.main
import yaml

from shardsift.cli.app import app

FOLDER = Path(__file__).parents[3] / "jobs" / "kuberay"
SCHEMA = json.loads(Path(__file__).with_name("rayjob.schema.json").read_text())
KUBERNETES = "1.31"
MANIFESTS = [
    (file, one) for file in FOLDER.glob("*.yaml") for one in yaml.safe_load_all(file.open())
]
JOBS = [one for _, one in MANIFESTS if one["kind"] == "RayJob"]


def name_of(manifest: Any) -> str:
    return str(manifest["metadata"]["name"])


def groups_of(job: Any) -> list[Any]:
    cluster = job["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


@pytest.mark.parametrize("job", JOBS, ids=name_of)
def test_kuberay_takes_the_job(job: Any) -> None:
    jsonschema.validate(job, SCHEMA)


@pytest.mark.parametrize("job", JOBS, ids=name_of)
def test_kubernetes_takes_its_pods(job: Any) -> None:
    for group in groups_of(job):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}}
        kubernetes_validate.validate(pod | group["template"], KUBERNETES, strict=True)


@pytest.mark.parametrize(
    "claim", [one for _, one in MANIFESTS if one["kind"] != "RayJob"], ids=name_of
)
def test_kubernetes_takes_what_stands_beside_it(claim: Any) -> None:
    kubernetes_validate.validate(claim, KUBERNETES, strict=True)


@pytest.mark.parametrize("job", JOBS, ids=name_of)
def test_its_command_is_ours(job: Any) -> None:
    program, verb, *rest = shlex.split(job["spec"]["entrypoint"])
    assert program == "shardsift"
    commands: dict[str, Any] = cast(Any, typer.main.get_command(app)).commands
    commands[verb].make_context(verb, rest)


@pytest.mark.parametrize("job", JOBS, ids=name_of)
def test_it_runs_as_nobody_special_on_the_ray_of_the_image(job: Any) -> None:
    for group in groups_of(job):
        assert group["template"]["spec"]["securityContext"]["runAsNonRoot"] is True
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == ray.__version__


@pytest.mark.parametrize("job", JOBS, ids=name_of)
def test_ray_knows_what_its_nodes_are_started_with(job: Any) -> None:
    command = [Path(sys.executable).with_name("ray"), "start", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for group in groups_of(job):
        for parameter in group["rayStartParams"]:
            assert f"--{parameter} " in said


@pytest.mark.parametrize("job", JOBS, ids=name_of)
def test_volumes_that_are_mounted_are_there(job: Any) -> None:
    claims = {name_of(one) for _, one in MANIFESTS if one["kind"] == "PersistentVolumeClaim"}
    for group in groups_of(job):
        spec = group["template"]["spec"]
        volumes = {volume["name"]: volume for volume in spec.get("volumes", ())}
        for container in spec["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes.keys()
        for volume in volumes.values():
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims
