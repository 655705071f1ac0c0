"""The dashboard and the alerts use existing metrics, and a real Prometheus answers."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from shardsift.engine.metrics import METRICS
from tests.documentation import PAGES
from tests.ports import free_ports
from tests.samples import encoded, write_shards, write_tar

FOLDER = Path(__file__).parents[3] / "jobs" / "monitoring"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
RULES = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"][0]["rules"]
DOCUMENTED = re.findall(
    r"^\| [^|]+ \| `(.*ray_shardsift.*)` \|$", PAGES["docs/reference/metrics.md"], re.M
)
QUERIES = {
    **{
        panel["title"]: target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    },
    **{f"documented {number}": query for number, query in enumerate(DOCUMENTED)},
    **{rule["alert"]: re.sub(r" (==|>) [\d.]+$", "", rule["expr"]) for rule in RULES},
}
"""Queries by title; for an alert, the query before the comparison."""

PATIENCE_SECONDS = 180
needs_prometheus = pytest.mark.skipif(
    "SHARDSIFT_TEST_CHAOS" not in os.environ or not shutil.which("prometheus"),
    reason="make chaos runs it, if Prometheus is installed: apt-get install prometheus",
)


@pytest.mark.parametrize("title", QUERIES)
def test_queries_ask_for_metrics_that_there_are(title: str) -> None:
    known = {metric.exported for metric in METRICS}
    known |= {f"{metric.exported}_bucket" for metric in METRICS if metric.bounds}
    asked = set(re.findall(r"ray_\w+", QUERIES[title]))
    assert asked
    assert {name for name in asked if name.startswith("ray_shardsift")} <= known


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + right, place["y"] + down)
            for right in range(place["w"])
            for down in range(place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells


@contextmanager
def running(command: list[str], log: Path, **variables: str) -> Generator[None]:
    """Run a server as long as the block."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, env=os.environ | variables
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_SECONDS)


@pytest.fixture
def ray_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A cluster with a token, whose nodes tell Prometheus every second."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    port, dashboard, metrics = free_ports(3)
    ray = str(Path(sys.executable).with_name("ray"))
    head = [ray, "start", "--head", "--block", "--num-cpus=2", f"--port={port}"]
    head += ["--node-ip-address=127.0.0.1", f"--temp-dir=/tmp/ray-{port}"]
    head += [f"--dashboard-port={dashboard}", f"--metrics-export-port={metrics}"]
    with running(head, tmp_path / "ray.log", RAY_metrics_report_interval_ms="1000"):
        listed = Path(f"/tmp/ray-{port}/prom_metrics_service_discovery.json")
        wait_until(listed.exists)
        yield f"127.0.0.1:{port}"
    shutil.rmtree(f"/tmp/ray-{port}", ignore_errors=True)


@pytest.fixture
def prometheus(ray_address: str, tmp_path: Path) -> Iterator[str]:
    """A Prometheus with our configuration, except Ray's list of nodes and the interval."""
    config = (FOLDER / "prometheus.yaml").read_text()
    config = config.replace("/tmp/ray/", f"/tmp/ray-{ray_address.rpartition(':')[2]}/")
    config = config.replace("scrape_interval: 15s", "scrape_interval: 1s")
    (tmp_path / "prometheus.yaml").write_text(config)
    shutil.copy(FOLDER / "alerts.yaml", tmp_path)
    (port,) = free_ports(1)
    command = ["prometheus", f"--config.file={tmp_path / 'prometheus.yaml'}"]
    command += [f"--storage.tsdb.path={tmp_path / 'tsdb'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}"]
    url = f"http://127.0.0.1:{port}"
    with running(command, tmp_path / "prometheus.log"):
        wait_until(lambda: answers(f"{url}/-/ready"))
        yield url


def answers(url: str) -> bool:
    try:
        return urlopen(url).status == 200
    except OSError:
        return False


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def ask(prometheus: str, query: str) -> list[str]:
    """The values of a query, now."""
    query = query.replace("$__rate_interval", "30s")
    with urlopen(f"{prometheus}/api/v1/query?{urlencode({'query': query})}") as answer:
        return [one["value"][1] for one in json.load(answer)["data"]["result"]]


@needs_prometheus
def test_a_prometheus_that_scrapes_a_run_answers_every_query(
    ray_address: str, prometheus: str, tmp_path: Path
) -> None:
    shards = write_shards(tmp_path / "in", 20, samples=60)
    write_tar(shards / "0-bad.tar", [("1.jpg", encoded()[:900]), ("2.txt", b"")])
    (shards / "0-cut.tar").write_bytes(b"<html>503</html>" * 64)
    command = [str(Path(sys.executable).with_name("shardsift")), "score", str(shards)]
    command += ["--output", str(tmp_path / "out"), "--model", "compact", "--gpus-per-actor", "0"]
    run = subprocess.Popen([*command, "--address", ray_address])
    found: dict[str, list[str]] = {}
    while run.poll() is None:
        for title, query in QUERIES.items():
            values = ask(prometheus, query)
            if values and "NaN" not in values:
                found[title] = values
        time.sleep(1)
    for title, values in found.items():
        sys.stdout.write(f"\n{title}: {QUERIES[title]} = {', '.join(values)}")
    assert run.returncode == 1, "a shard is no tar"
    without_gpu = {"GPUs"}
    assert QUERIES.keys() - found.keys() <= without_gpu
    assert found["Attempts that failed"] == ["3"]
    assert float(found["Images a second"][0]) > 0
    assert float(found["Work as it happens"][0]) > float(found["Images a second"][0])


@needs_prometheus
def test_the_alert_sounds_when_a_run_stands_still_and_not_before(tmp_path: Path) -> None:
    series = 'ray_shardsift_steps_total{WorkerId="a"}'
    sounds = {
        "alertname": "ShardsiftStandsStill",
        "exp_alerts": [{"exp_labels": {"severity": "critical"}}],
    }
    checks: dict[str, Any] = {
        "rule_files": [str(FOLDER / "alerts.yaml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": series, "values": "0+600x10 6000x30"}],
                "alert_rule_test": [
                    {"eval_time": "15m", "alertname": "ShardsiftStandsStill"},
                    {"eval_time": "25m", **sounds},
                ],
            },
            {
                "interval": "1m",
                "input_series": [{"series": series, "values": "0+600x10 _x30"}],
                "alert_rule_test": [{"eval_time": "25m", "alertname": "ShardsiftStandsStill"}],
            },
        ],
    }
    for test in checks["tests"]:
        for check in test["alert_rule_test"]:
            for alert in check.get("exp_alerts", ()):
                alert["exp_annotations"] = RULES[0]["annotations"]
    (tmp_path / "checks.yaml").write_text(yaml.safe_dump(checks))
    promtool = ["promtool", "test", "rules", str(tmp_path / "checks.yaml")]
    done = subprocess.run(promtool, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
