"""Decoding processes may die; only a picture that kills them loses its score."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from shardsift.annotations.annotate import annotate
from shardsift.errors import ErrorCode, ImageError
from shardsift.images.decode import decode_rgb
from shardsift.images.decoder import Picture, Wanted
from shardsift.images.pool import DecodePool
from shardsift.outputs.sealed_table import read
from shardsift.records import RgbImage, ShardTask
from tests.fakes import TRAP_WIDTH, FakeScorer
from tests.samples import encoded, write_tar

MAX_PIXELS = 1_000_000
WANTED = Wanted(MAX_PIXELS)
FILES = [encoded(width=40 + n, height=30, seed=n) for n in range(20)]

TRAP = f"""
    import os, signal, simplejpeg
    decode = simplejpeg.decode_jpeg

    def spring(data):
        pixels = decode(data)
        if pixels.shape[1] == {TRAP_WIDTH}:
            os.kill(os.getpid(), signal.SIGSEGV)
        return pixels

    simplejpeg.decode_jpeg = spring
"""

AtStart = Callable[[str], None]


@pytest.fixture
def at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AtStart:
    """Make later processes run some code first."""

    def write(code: str) -> None:
        (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(code))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return write


def pixels_of(pictures: list[Picture]) -> list[RgbImage]:
    images = [picture for picture in pictures if not isinstance(picture, ImageError)]
    assert len(images) == len(pictures)
    return images


def assert_decoded(pictures: list[Picture], files: list[bytes]) -> None:
    for pixels, data in zip(pixels_of(pictures), files, strict=True):
        np.testing.assert_array_equal(pixels, decode_rgb(data, MAX_PIXELS))


def decoders() -> list[psutil.Process]:
    own = psutil.Process().children()
    return [process for process in own if "decode_worker" in " ".join(process.cmdline())]


def mapped() -> set[str]:
    """Where this process has slabs."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    return {line.split()[0] for line in maps if "memfd:shardsift" in line}


def test_processes_that_are_killed_cost_nothing() -> None:
    with DecodePool(2) as pool:
        assert_decoded(pool.decode(FILES, WANTED).pictures, FILES)
        for process in decoders():
            process.kill()
        for _ in range(4):
            files = list(FILES)
            while files:  # a dead process may have been decoding any of them
                pictures = pool.decode(files, WANTED).pictures
                assert_decoded(pictures, files[: len(pictures)])
                del files[: len(pictures)]
    assert not decoders()


def test_a_picture_that_kills_costs_its_row_and_no_other(tmp_path: Path, at_start: AtStart) -> None:
    at_start(TRAP)
    widths = [40, 50, TRAP_WIDTH, 60, TRAP_WIDTH, *range(70, 100)]
    files = [(f"{n}.jpg", encoded(width=width)) for n, width in enumerate(widths)]
    tar = write_tar(tmp_path / "a.tar", files)
    task = ShardTask(url=str(tar), shard="a.tar", annotation="a.parquet")
    with DecodePool(2) as pool:
        report = annotate(task, FakeScorer(), str(tmp_path / "out"), pool)
    assert (report.rows, report.errors) == (35, {"decode_error": 2})
    rows = read(str(tmp_path / "out" / "a.parquet")).to_pylist()
    assert [row["width"] for row in rows] == [w if w != TRAP_WIDTH else None for w in widths]
    told = "the decoding process was ended by SIGSEGV, 3 times"
    assert {row["error_message"] for row in rows} == {None, told}


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "ended by SIGKILL, 3 times: is there too little"),
        ("os.kill(os.getpid(), signal.SIGBUS)", "ended by SIGBUS, 3 times: is there too little"),
        ("raise MemoryError", "no memory is left to decode an image"),
    ],
    ids=["killed by the kernel", "full shared memory", "MemoryError"],
)
def test_too_little_memory_is_no_fault_of_a_picture(
    harm: str, told: str, at_start: AtStart
) -> None:
    at_start(TRAP.replace("os.kill(os.getpid(), signal.SIGSEGV)", harm))
    with DecodePool(1) as pool, pytest.raises(MemoryError, match=told):
        pool.decode([encoded(width=TRAP_WIDTH)], WANTED)


def test_a_picture_that_takes_too_long_is_ended(at_start: AtStart) -> None:
    at_start(TRAP.replace("os.kill(os.getpid(), signal.SIGSEGV)", "any(iter(int, 1))"))
    files = [FILES[0], encoded(width=TRAP_WIDTH), FILES[1]]
    found: list[Picture] = []
    with DecodePool(1) as pool:
        while len(found) < len(files):
            found += pool.decode(files[len(found) :], Wanted(MAX_PIXELS, seconds=1)).pictures
    assert isinstance(found[1], ImageError)
    told = "takes over 1 s of processor time"
    assert (found[1].code, str(found[1])) == (ErrorCode.TOO_SLOW, told)
    assert_decoded([found[0], found[2]], [FILES[0], FILES[1]])


def test_processes_that_cannot_start_are_no_fault_of_the_pictures(at_start: AtStart) -> None:
    at_start("import os; os._exit(3)")
    with (
        DecodePool(1) as pool,
        pytest.raises(RuntimeError, match="can't start: it was ended by exit code 3, 3 times"),
    ):
        pool.decode(FILES, WANTED)


def test_a_picture_that_somebody_holds_keeps_its_pixels() -> None:
    with DecodePool(1) as pool:
        held = pixels_of(pool.decode(FILES[:3], WANTED).pictures)[1]
        for _ in range(3):
            pool.decode([encoded(width=41, height=30, seed=99)] * 8, WANTED)
    np.testing.assert_array_equal(held, decode_rgb(FILES[1], MAX_PIXELS))


def test_memory_is_used_again_once_nobody_holds_it() -> None:
    before = mapped()
    with DecodePool(1) as pool:
        for _ in range(20):
            pictures = pool.decode(FILES, WANTED).pictures
            assert len(pictures) == len(FILES)
        assert len(mapped() - before) <= 2  # what is held, and what is decoded into meanwhile


def test_of_a_pool_whose_owner_is_killed_nothing_is_left(tmp_path: Path) -> None:
    script = f"""
        import os, psutil, signal
        from shardsift.images.pool import DecodePool
        from shardsift.images.decoder import Wanted
        from tests.samples import encoded

        pool = DecodePool(2)
        pool.decode([encoded()], Wanted({MAX_PIXELS}))
        print(*(child.pid for child in psutil.Process().children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 2
    left = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs(left, timeout=60)
    assert not alive
