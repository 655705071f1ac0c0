"""Scratch folders name the place that is full, and none outlives the command that follows."""

from __future__ import annotations

import errno
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from shardsift.errors import WriteError
from shardsift.storage.local import make_scratch, naming_scratch

LEFT_BEHIND = """
import os
from pathlib import Path
from shardsift.storage.local import make_scratch

folder = make_scratch()
Path(folder.name, "half").write_bytes(b"x")
print(folder.name, flush=True)
os._exit(9)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_what_a_killed_command_left_is_swept_by_the_next(temporary: Path) -> None:
    command = [sys.executable, "-c", LEFT_BEHIND]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    left = Path(done.stdout.strip())
    assert (left / "half").exists()
    (temporary / "shardsift-of-mine").mkdir()
    with make_scratch() as mine, make_scratch() as other:
        assert not left.exists()
        assert Path(mine).is_dir()
        assert Path(other).is_dir(), "of a process that runs nothing is swept"
    assert [path.name for path in temporary.iterdir()] == ["shardsift-of-mine"]


def test_a_full_disk_is_named(temporary: Path) -> None:
    told = f"{temporary}: can't be written: No space.*set TMPDIR"
    with pytest.raises(WriteError, match=told), naming_scratch():
        raise OSError(errno.ENOSPC, "No space left on device")
