"""Shards and annotations in a bucket, behind a network and a store that fail now and then."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import fsspec.config
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs
from PIL import Image

from jobs.bench.outlook import requests_for_shard
from shardsift.annotations.annotate import annotate
from shardsift.config.filter_settings import FilterConfig
from shardsift.errors import OutputError, ShardError
from shardsift.filtering.query import curate
from shardsift.outputs.run_folder import check_output
from shardsift.outputs.sealed_table import read
from shardsift.records import ShardReport, ShardTask
from shardsift.shards.tar_samples import read_tar
from shardsift.storage.files import commit, list_files, read_bytes
from shardsift.storage.remote import Backoff
from tests.fakes import FakeScorer
from tests.faults import (
    FOREVER,
    CutShort,
    Delay,
    Fault,
    FaultProxy,
    LoseAnswer,
    Meanwhile,
    Refuse,
    Reset,
    Shorten,
    Throttle,
)
from tests.generated import write_annotations
from tests.integration.conftest import ObjectStore
from tests.samples import tar_bytes

IMAGES = 40
TASK = ShardTask(url="s3://corpus/train/0.tar", shard="0.tar", annotation="0.parquet")
TRIES = 4

pytestmark = pytest.mark.usefixtures("quick")


def noise(seed: int) -> bytes:
    """A picture that doesn't compress, so that a shard of them takes several requests."""
    pixels = np.random.default_rng(seed).integers(0, 256, (300, 300 + seed, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=0)
    return file.getvalue()


def shard(first: int = 0) -> bytes:
    return tar_bytes([(f"{n:03}.png", noise(n)) for n in range(first, first + IMAGES)])


@pytest.fixture(scope="module")
def undisturbed(s3: s3fs.S3FileSystem) -> bytes:
    """The annotation of a shard that nothing disturbed."""
    s3.pipe_file("corpus/train/0.tar", shard())
    assert score("s3://corpus/undisturbed").rows == IMAGES
    return read_bytes("s3://corpus/undisturbed/0.parquet")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits."""
    monkeypatch.setattr(
        "shardsift.storage.remote.BACKOFF", Backoff(tries=TRIES, first_wait=0.02, longest_wait=0.1)
    )


@pytest.fixture
def proxy(
    undisturbed: bytes, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FaultProxy]:
    """Between the library's `s3://` and the store; the fixture `s3` goes past it."""
    with FaultProxy(object_store.url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        s3fs.S3FileSystem.clear_instance_cache()
        yield proxy
        s3fs.S3FileSystem.clear_instance_cache()


def score(output: str) -> ShardReport:
    return annotate(TASK, FakeScorer(), output)


@pytest.mark.parametrize(
    "fault",
    [
        Delay(0.5),
        Refuse(500),
        Refuse(503),
        Reset(after=3_000_000),
        LoseAnswer(),
        CutShort(after=3_000_000),
        Shorten(to=3_000_000),
        Throttle(bytes_per_second=8_000_000),
    ],
    ids=str,
)
def test_a_disturbed_read_gives_the_rows_of_an_undisturbed_one(
    fault: Fault, proxy: FaultProxy, undisturbed: bytes, tmp_path: Path
) -> None:
    proxy.inject(fault, "HEAD")
    proxy.inject(fault, "GET", times=2)
    proxy.inject(fault, "GET", skip=1)
    score(str(tmp_path))
    assert (tmp_path / "0.parquet").read_bytes() == undisturbed
    assert proxy.injected >= 3


@pytest.mark.parametrize(
    "fault",
    [Delay(0.5), Refuse(500), Refuse(503), Reset(after=100), LoseAnswer()],
    ids=str,
)
def test_a_disturbed_commit_appears_whole(
    fault: Fault, proxy: FaultProxy, undisturbed: bytes, s3: s3fs.S3FileSystem, tmp_path: Path
) -> None:
    output = f"s3://corpus/{tmp_path.name}"
    proxy.inject(fault, "PUT", times=2)
    score(output)
    assert proxy.injected >= 1
    assert s3.cat_file(f"{output}/0.parquet") == undisturbed
    assert s3.find(output) == [f"corpus/{tmp_path.name}/0.parquet"]


def test_a_store_that_says_nothing_is_asked_again(
    proxy: FaultProxy, undisturbed: bytes, s3: s3fs.S3FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"config_kwargs": {"read_timeout": 2}}  # seconds; a user's setting, as of fsspec
    monkeypatch.setitem(fsspec.config.conf, "s3", config)
    proxy.inject(Delay(3), "GET", times=2)
    proxy.inject(Delay(3), "PUT")
    score("s3://corpus/silent")
    assert proxy.injected == 3
    assert s3.cat_file("corpus/silent/0.parquet") == undisturbed


def test_a_storm_of_faults_neither_loses_nor_doubles_a_row(
    proxy: FaultProxy, undisturbed: bytes, tmp_path: Path
) -> None:
    faults = [Reset(after=50_000), Refuse(503), CutShort(after=1), Shorten(to=1), LoseAnswer()]
    for fault in faults * 4:
        proxy.inject(fault, "GET", skip=1)
    for _ in range(12):
        score(str(tmp_path))
        table = read(str(tmp_path / "0.parquet"))
        assert table["key"].to_pylist() == [f"{n:03}" for n in range(IMAGES)]
        assert (tmp_path / "0.parquet").read_bytes() == undisturbed
    assert proxy.injected == 20


def test_a_filter_is_as_if_nothing_had_happened(
    proxy: FaultProxy, s3: s3fs.S3FileSystem, tmp_path: Path
) -> None:
    scores = write_annotations(tmp_path / "scores", {f"{n}.tar": [0.1, 0.5, 0.9] for n in range(4)})
    s3.put(f"{scores}/", "corpus/disturbed/", recursive=True)
    table = pa.table({"shard": ["1.tar", "3.tar"], "key": ["k2", "k1"], "bad": [True, True]})
    with s3.open("corpus/bad.parquet", "wb") as file:
        pq.write_table(table, file)
    rule = {"annotations": "s3://corpus/disturbed", "join": "s3://corpus/bad.parquet"}
    rule |= {"where": "bad IS NOT TRUE", "keep_top": 0.5}
    kept: list[list[bytes]] = []
    for place in range(2):
        output = tmp_path / f"kept{place}"
        curate(FilterConfig.model_validate(rule | {"output": str(output)}))
        kept.append([path.read_bytes() for path in sorted(output.rglob("keep-list/*.parquet"))])
        for fault in (Refuse(503), Reset(after=100), CutShort(after=50), LoseAnswer()) * 3:
            proxy.inject(fault, "GET", skip=1)
    assert kept[0] == kept[1]
    assert proxy.injected >= 8


def test_a_line_that_never_carries_a_block_carries_it_in_pieces(proxy: FaultProxy) -> None:
    proxy.inject(Reset(after=3_000_000), "GET", times=FOREVER)
    assert [sample.key for sample in read_tar(TASK.url)] == [f"{n:03}" for n in range(IMAGES)]


def test_a_retry_is_one_line_in_the_log(
    proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.inject(Refuse(503), "GET", skip=1)
    with caplog.at_level(logging.WARNING, "shardsift"):
        list(read_tar(TASK.url))
    (record,) = caplog.records
    assert record.name == "shardsift.storage.remote"
    assert record.getMessage().startswith(
        f"{TASK.url}: Please reduce your request rate.; attempt 2 of {TRIES} in 0."
    )


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        ("HEAD", Refuse(503)),
        ("HEAD", LoseAnswer()),
        ("GET", Refuse(503)),
        ("GET", LoseAnswer()),
        ("GET", CutShort(after=0)),
    ],
    ids=str,
)
def test_a_store_that_never_recovers_costs_the_shard_an_attempt(
    method: str, fault: Fault, proxy: FaultProxy, tmp_path: Path
) -> None:
    proxy.inject(fault, method, times=FOREVER)
    with pytest.raises(ShardError, match=rf"^0\.tar: .*\({TRIES} tries in \d+ s\)$"):
        score(str(tmp_path))
    blocks = 2  # asked for at the same time
    repeats = 2  # by aiohttp, of what has had no answer
    assert TRIES <= proxy.injected <= TRIES * blocks * repeats
    assert list_files(str(tmp_path)) == set()


def test_a_store_that_breaks_down_in_the_middle_leaves_nothing_half_written(
    proxy: FaultProxy, s3: s3fs.S3FileSystem
) -> None:
    proxy.inject(Refuse(503), "GET", skip=1, times=FOREVER)
    with pytest.raises(ShardError, match="can't be read: Please reduce your request rate"):
        score("s3://corpus/broken")
    assert s3.find("corpus/broken") == []


@pytest.mark.parametrize("fault", [Refuse(503), Reset(after=100)], ids=str)
def test_a_store_that_takes_nothing_keeps_what_it_had(
    fault: Fault, proxy: FaultProxy, s3: s3fs.S3FileSystem
) -> None:
    commit("s3://corpus/kept/0.parquet", b"before")
    proxy.inject(fault, "PUT", times=FOREVER)
    with pytest.raises(ShardError, match=rf"annotation can't be written: .*\({TRIES} tries"):
        score("s3://corpus/kept")
    assert s3.cat_file("corpus/kept/0.parquet") == b"before"
    assert s3.find("corpus/kept") == ["corpus/kept/0.parquet"]


def test_an_output_that_takes_nothing_is_refused_before_any_work(proxy: FaultProxy) -> None:
    proxy.inject(Refuse(500), "PUT", times=FOREVER)
    with pytest.raises(OutputError, match=r"^s3://corpus/out: can't be written: .*\(4 tries"):
        check_output("s3://corpus/out", [])
    assert proxy.injected == TRIES


def test_a_shard_that_is_replaced_while_it_is_read_is_an_error(
    proxy: FaultProxy, s3: s3fs.S3FileSystem, tmp_path: Path
) -> None:
    other = shard(first=1)
    proxy.inject(Meanwhile(lambda: s3.pipe_file("corpus/train/0.tar", other)), "GET", skip=1)
    try:
        with pytest.raises(ShardError, match="can't be read: changed while it was read"):
            score(str(tmp_path))
    finally:
        s3.pipe_file("corpus/train/0.tar", shard())
    assert list_files(str(tmp_path)) == set()


def test_small_operations_are_tried_again(proxy: FaultProxy) -> None:
    for method in ("PUT", "GET", "HEAD", "DELETE"):
        proxy.inject(Refuse(503), method)
    check_output("s3://corpus/small", [])
    commit("s3://corpus/small/_run.json", b"{}")
    assert read_bytes("s3://corpus/small/_run.json") == b"{}"
    proxy.inject(Reset(after=20), "GET")
    assert list_files("s3://corpus/small") == {"_run.json"}
    assert proxy.injected == 5


def test_a_listing_repeats_the_page_that_failed_and_not_those_before(
    proxy: FaultProxy, s3: s3fs.S3FileSystem
) -> None:
    names = {f"{n:04}.parquet" for n in range(1001)}  # one more than fit a page
    s3.pipe({f"corpus/many/{name}": b"" for name in names})
    proxy.inject(Refuse(503), "GET", skip=1)
    assert list_files("s3://corpus/many") == names
    assert proxy.requests == ["GET"] * 3


def test_a_shard_costs_the_requests_that_a_simulation_reckons_with(proxy: FaultProxy) -> None:
    score("s3://corpus/counted")
    assert len(proxy.requests) == requests_for_shard(len(shard()))
