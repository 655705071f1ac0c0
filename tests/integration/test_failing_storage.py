"""Storage that will not do: one clear line, no secret in it, and nothing half written."""

from __future__ import annotations

import logging
import os
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import s3fs

from shardsift.annotations.annotate import annotate
from shardsift.errors import InputError, OutputError, ShardError, ShardsiftError
from shardsift.outputs.run_folder import check_output
from shardsift.records import ShardTask
from shardsift.shards.plan import plan_shards
from shardsift.shards.tar_samples import read_tar
from shardsift.storage.files import commit, list_files, read_bytes
from shardsift.storage.remote import Backoff
from tests.disks import disk_with_room_for
from tests.fakes import FakeScorer
from tests.integration.conftest import ObjectStore
from tests.samples import write_shards

UNWRITABLE = "/proc/shardsift"
"""Not even root can make a folder there."""


@pytest.fixture
def shard(tmp_path: Path) -> str:
    return str(write_shards(tmp_path / "train", 1, samples=3) / "00000.tar")


@pytest.fixture(scope="module")
def bucket(s3: s3fs.S3FileSystem, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = write_shards(tmp_path_factory.mktemp("train"), 1, samples=3)
    s3.pipe_file("corpus/train/00000.tar", (folder / "00000.tar").read_bytes())
    return "s3://corpus"


@pytest.fixture
def log_in(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Change who the library is to the store, for a test."""

    def log_in(key: str, secret: str) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        s3fs.S3FileSystem.clear_instance_cache()

    yield log_in
    s3fs.S3FileSystem.clear_instance_cache()


def score(url: str, output: str) -> None:
    annotate(ShardTask(url=url, shard="0.tar", annotation="0.parquet"), FakeScorer(), output)


def said(error: pytest.ExceptionInfo[ShardsiftError]) -> str:
    """The message, after a look that it is one line."""
    message = str(error.value)
    assert "\n" not in message
    return message


# --- disks ---------------------------------------------------------------------------------------


def test_a_disk_that_fills_up_costs_the_shard_an_attempt(shard: str, tmp_path: Path) -> None:
    output = tmp_path / "out"
    commit(str(output / "0.parquet"), b"before")
    with (
        pytest.raises(ShardError, match=r"^0\.tar: annotation can't be written: .*too large"),
        disk_with_room_for(1000),
    ):
        score(shard, str(output))
    assert list_files(str(output)) == {"0.parquet"}
    assert read_bytes(str(output / "0.parquet")) == b"before"


def test_a_disk_that_fails_to_read_costs_the_shard_an_attempt() -> None:
    with pytest.raises(ShardError, match="can't be read: Input/output error"):
        list(read_tar("/proc/self/mem"))  # whose first page is never there


def test_a_pipe_in_place_of_a_tar_isnt_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "0.tar")
    with pytest.raises(ShardError, match="can't be read: is a pipe, socket or device"):
        list(read_tar(str(tmp_path / "0.tar")))


def test_an_output_that_cant_be_written_is_refused(shard: str) -> None:
    with pytest.raises(OutputError, match=f"^{UNWRITABLE}: can't be written"):
        check_output(UNWRITABLE, [])
    with pytest.raises(ShardError, match="annotation can't be written"):
        score(shard, UNWRITABLE)


# --- buckets -------------------------------------------------------------------------------------


def test_a_login_that_may_only_read_is_told_before_any_work(
    bucket: str, object_store: ObjectStore, log_in: Callable[[str, str], None]
) -> None:
    log_in(object_store.reader_key, object_store.reader_secret)
    assert [task.shard for task in plan_shards([f"{bucket}/train"])] == ["00000.tar"]
    with pytest.raises(OutputError, match=r"^s3://corpus/out: can't be written: .*[Dd]enied"):
        check_output(f"{bucket}/out", [])
    with pytest.raises(ShardError, match="annotation can't be written"):
        score(f"{bucket}/train/00000.tar", f"{bucket}/out")


@pytest.mark.parametrize("wrong", ["key", "secret"])
def test_wrong_credentials_are_told_at_once_and_not_repeated(
    wrong: str,
    bucket: str,
    object_store: ObjectStore,
    log_in: Callable[[str, str], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    key = "AKIANOBODY0000000000" if wrong == "key" else object_store.key
    log_in(key, "wrongsecretwrongsecretwrongsecretwrongse")
    started = time.monotonic()
    attempts: list[Callable[[], object]] = [
        lambda: check_output(f"{bucket}/out", []),
        lambda: plan_shards([f"{bucket}/train/*.tar"]),
        lambda: plan_shards([f"{bucket}/*/*.tar"]),
        lambda: plan_shards([f"{bucket}/train"]),
        lambda: score(f"{bucket}/train/00000.tar", f"{bucket}/out"),
    ]
    with caplog.at_level(logging.DEBUG, "shardsift"):
        for attempt in attempts:
            with pytest.raises((OutputError, InputError, ShardError)) as error:
                attempt()
            shown = said(error) + "".join(traceback.format_exception(error.value))
            assert "Forbidden" in shown or "key" in shown
            assert key not in shown + caplog.text
            assert "wrongsecret" not in shown + caplog.text
    assert time.monotonic() - started < 15
    assert "try 2" not in caplog.text


def test_no_credentials_are_told(
    bucket: str, log_in: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in("", "")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    with pytest.raises(OutputError, match="Unable to locate credentials"):
        check_output(f"{bucket}/out", [])


def test_a_bucket_that_isnt_there_is_told(s3: s3fs.S3FileSystem, shard: str) -> None:
    with pytest.raises(OutputError, match=r"^s3://nowhere/out: .*bucket does not exist"):
        check_output("s3://nowhere/out", [])
    for pattern in ("s3://nowhere/*.tar", "s3://nowhere/*/*.tar", "s3://nowhere/train"):
        with pytest.raises(InputError) as error:
            plan_shards([pattern])
        assert said(error).startswith(pattern)
    with pytest.raises(ShardError, match="bucket does not exist"):
        score("s3://nowhere/0.tar", "s3://corpus/out")
    with pytest.raises(ShardError, match=r"annotation can't be written: .*bucket does not exist"):
        score(shard, "s3://nowhere/out")
    assert list_files("s3://nowhere/out") == set()


def test_an_endpoint_that_isnt_there_is_told(
    s3: s3fs.S3FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shardsift.storage.remote.BACKOFF", Backoff(tries=3, first_wait=0.01))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(OutputError, match=r"Could not connect .*\(3 tries in \d+ s\)"):
        check_output("s3://corpus/out", [])
    s3fs.S3FileSystem.clear_instance_cache()


# --- secrets -------------------------------------------------------------------------------------


def test_a_presigned_url_is_refused(s3: s3fs.S3FileSystem, bucket: str) -> None:
    with pytest.raises(InputError, match=r"00000\.tar\?…: a presigned URL can't be a shard"):
        plan_shards([str(s3.url(f"{bucket}/train/00000.tar"))])


@pytest.mark.parametrize(
    "location",
    [
        "s3://AKIASECRETKEY:hidden/se+cret@corpus/train",
        "http://AKIASECRETKEY:hidden@127.0.0.1:9/train",
        "http://127.0.0.1:9/train/0.tar?X-Amz-Credential=AKIASECRETKEY&X-Amz-Signature=hidden",
    ],
)
def test_secrets_of_a_url_are_not_told(
    location: str,
    s3: s3fs.S3FileSystem,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shardsift.storage.remote.BACKOFF", Backoff(tries=2, first_wait=0.01))
    attempts: list[Callable[[], object]] = [
        lambda: check_output(location, []),
        lambda: plan_shards([location]),
        lambda: plan_shards([f"{location}/*.tar"]),
        lambda: plan_shards([f"@{location}"]),
        lambda: list(read_tar(location)),
        lambda: score(location, "/tmp/never"),
    ]
    with caplog.at_level(logging.DEBUG, "shardsift"):
        for attempt in attempts:
            with pytest.raises(ShardsiftError) as error:
                attempt()
            shown = said(error) + "".join(traceback.format_exception(error.value)) + caplog.text
            assert "hidden" not in shown.replace(location, "")  # in the test's own source line
            assert "AKIASECRETKEY" not in said(error) + caplog.text
