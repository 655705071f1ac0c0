"""Data sets of the Hugging Face hub are read where they lie, by a stand-in of its API."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest

from tests.samples import as_parquet, write_shards

READ = """
import sys
from shardsift.errors import UserError
from shardsift.shards.plan import plan_shards
from shardsift.shards.readers import identify_shard, read_samples
try:
    plan = plan_shards(sys.argv[1:])
    plan.check_found()
    for task in plan:
        print(task.shard, len(list(read_samples(task))), identify_shard(task).version)
except UserError as error:
    print(error)
"""


class Hub(ThreadingHTTPServer):
    """Serves the Parquet files of a folder as the data sets `org/open` and `org/gated`."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(("127.0.0.1", 0), Answers)

    @property
    def files(self) -> list[dict[str, Any]]:
        return [
            {"type": "file", "oid": f"blob-{p.name}", "size": p.stat().st_size, "path": p.name}
            for p in sorted(self.folder.iterdir())
        ]


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path, hub = self.path.partition("?")[0], cast(Hub, self.server)
        if re.match(r"/api/datasets/org/(open|gated)/tree/", path):
            self.answer(200, json.dumps(hub.files).encode())
        elif re.fullmatch(r"/api/datasets/org/(open|gated)(/revision/main)?", path):
            self.answer(200, json.dumps({"id": "org/open", "sha": "1", "siblings": []}).encode())
        elif path.startswith("/datasets/org/open/resolve/"):
            data = (hub.folder / path.rpartition("/")[2]).read_bytes()
            begin, end = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
            place = f"bytes {begin}-{min(end, len(data) - 1)}/{len(data)}"
            self.answer(206, data[begin : end + 1], {"Content-Range": place})
        elif path.startswith("/datasets/org/gated/resolve/"):
            self.answer(401, b"{}", {"X-Error-Code": "GatedRepo"})
        else:
            self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def answer(self, code: int, body: bytes, more: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name
        """Print nothing."""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("hub")
    server = Hub(as_parquet(write_shards(root / "tars", 2, samples=3), root / "parquet"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("location", "told"),
    [
        (
            "open/*.parquet",
            ["00000.parquet 3 blob-00000.parquet", "00001.parquet 3 blob"],
        ),
        ("open", ["00000.parquet 3 blob-00000.parquet", "00001.parquet 3 blob-00001.parquet"]),
        (
            "gated/00000.parquet",
            ["hf://datasets/org/gated/00000.parquet: .*hf auth login"],
        ),
        ("none/00000.parquet", ["hf://datasets/org/none/00000.parquet: can't be found.*HF_TOKEN"]),
    ],
)
def test_a_data_set_is_read_or_one_line_says_why_not(
    location: str, told: list[str], hub: str, tmp_path: Path
) -> None:
    environment = os.environ | {"HF_ENDPOINT": hub, "HF_HOME": str(tmp_path), "HF_TOKEN": ""}
    done = subprocess.run(
        [sys.executable, "-c", READ, f"hf://datasets/org/{location}"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(told), done.stdout + done.stderr
    assert all(re.match(want, line) for want, line in zip(told, lines, strict=True)), lines
