"""Numbers of examples, and limits for each input: 20 seconds, memory, and its own folder.

`make test` tries a few examples, the same ones every time; `make fuzz` sets SHARDSIFT_TEST_FUZZ and
tries thousands of new ones.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from hypothesis import HealthCheck, currently_in_test_context, event, settings

LONG: Final = "SHARDSIFT_TEST_FUZZ" in os.environ

_SECONDS = 20
_SECONDS_UNTIL_KILLED = 120


_written: set[str] = set()
"""Files that this process has opened for writing, made or renamed, in any thread."""


def _note_writes(event: str, arguments: tuple[Any, ...]) -> None:
    writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes or event == "os.mkdir":
        _written.add(str(arguments[0]))
    elif event in ("os.rename", "os.link", "os.symlink"):
        _written.add(str(arguments[1]))


sys.addaudithook(_note_writes)


def examples(quick: int, long: int) -> settings:
    """Settings of a fuzz test; an example that takes 20 seconds fails."""
    return settings(
        max_examples=long if LONG else quick,
        derandomize=not LONG,
        database=None,
        deadline=timedelta(seconds=_SECONDS),
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.function_scoped_fixture,
            HealthCheck.large_base_example,
            HealthCheck.data_too_large,
        ],
        print_blob=True,
    )


def count(outcome: str) -> None:
    """For the statistics of `make fuzz`."""
    if currently_in_test_context():
        event(outcome)


@contextmanager
def bounded(data: bytes, folder: Path, mebibytes: int) -> Generator[None]:
    """Run the block with `data`; fail if its peak memory grows by more, or it writes elsewhere.

    Hypothesis can't report an endless loop or a crash in a C library. Then the last example is in
    the folder, and after two minutes the process ends with a traceback.
    """
    (folder / "last-example").write_bytes(data)
    with (folder / "hanging.txt").open("w") as trace:
        faulthandler.dump_traceback_later(_SECONDS_UNTIL_KILLED, exit=True, file=trace)
        before = _reset_peak()
        _written.clear()
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            elsewhere = [path for path in _written if not Path(path).is_relative_to(folder)]
    grown = (_memory("VmHWM") - before) >> 10
    assert not elsewhere
    assert grown <= mebibytes, f"{len(data)} bytes took {grown} MiB of memory"


def _reset_peak() -> int:
    """Forget the peak so far, which other tests may have made; KiB in use now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
