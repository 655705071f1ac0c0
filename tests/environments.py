"""Virtual environments without Shardsift, for tests of how it gets into one."""

from __future__ import annotations

import subprocess
import sysconfig
import venv
from pathlib import Path


def make_bare_environment(folder: Path) -> Path:
    """Make an environment with only the dependencies of this one; return its folder of commands."""
    venv.create(folder, symlinks=True)
    commands = folder / "bin"
    (packages,) = folder.glob("lib/python*/site-packages")
    # A folder named in a .pth is searched, but its own .pth files, such as ours, are not read.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    found = subprocess.run([commands / "python", "-c", "import shardsift"], capture_output=True)
    assert b"ModuleNotFoundError" in found.stderr, "Shardsift is among the dependencies"
    return commands
