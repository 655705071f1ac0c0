"""A cluster that Shardsift starts itself can't be reached from elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import json
from shardsift.engine.environment import prepare_ray

prepare_ray()
import psutil, ray

ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
ray.get(ray.remote(lambda: 0).remote())
ours = [psutil.Process(), *psutil.Process().children(recursive=True)]
found = [c.laddr.ip for one in ours for c in one.net_connections("tcp") if c.status == "LISTEN"]
print(json.dumps(found))
"""


@pytest.mark.skipif("SHARDSIFT_TEST_CHAOS" not in os.environ, reason="make chaos runs it: 10 s")
def test_all_its_ports_listen_on_this_machine_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found
    assert {address.removeprefix("::ffff:") for address in found} == {"127.0.0.1"}
