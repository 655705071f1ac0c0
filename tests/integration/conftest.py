"""A real S3 server on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import s3fs

from tests.ports import free_ports

_START_SECONDS = 120


@dataclass(frozen=True)
class ObjectStore:
    """Where the server answers; who may do everything there, and who may only read."""

    url: str
    key: str = "AKIASHARDSIFTTESTS00"
    secret: str = "8f2c/WvX+testsecrettestsecrettestsecret0"
    reader_key: str = "AKIASHARDSIFTREADER0"
    reader_secret: str = "y7Qp/readersecretreadersecretreadersecr1"

    def client(self) -> s3fs.S3FileSystem:
        """A client of its own, whatever the environment says."""
        return s3fs.S3FileSystem(
            key=self.key,
            secret=self.secret,
            endpoint_url=self.url,
            client_kwargs={"region_name": "us-east-1"},
            skip_instance_cache=True,
            use_listings_cache=False,
        )


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """SeaweedFS in a fresh folder, on fresh ports."""
    folder = tmp_path_factory.mktemp("seaweedfs")
    s3, master, volume, filer = free_ports(4)
    store = ObjectStore(f"http://127.0.0.1:{s3}")
    (folder / "identities.json").write_text(json.dumps(_identities(store)))
    command = [
        str(Path(sys.executable).with_name("weed")),
        *("server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *("-s3", f"-s3.port={s3}", f"-s3.config={folder / 'identities.json'}"),
        *("-s3.autoCreateBucket=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        *(f"-master.port={master}", "-master.telemetry=false", "-master.volumeSizeLimitMB=64"),
        *(f"-volume.port={volume}", "-volume.max=20", f"-filer.port={filer}"),
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait_for(store, process, folder / "log")
        yield store
    finally:
        process.kill()  # nothing in it is worth the half minute of an orderly end
        process.wait()


@pytest.fixture(scope="module")
def s3(object_store: ObjectStore) -> Iterator[s3fs.S3FileSystem]:
    """An empty bucket `corpus`, for a module; fsspec's `s3://` points at the server."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", object_store.url)
        environment.setenv("AWS_ACCESS_KEY_ID", object_store.key)
        environment.setenv("AWS_SECRET_ACCESS_KEY", object_store.secret)
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()
        filesystem = object_store.client()
        filesystem.mkdir("corpus")
        yield filesystem
        filesystem.rm("corpus", recursive=True)
        s3fs.S3FileSystem.clear_instance_cache()


def _identities(store: ObjectStore) -> dict[str, object]:
    def identity(name: str, key: str, secret: str, actions: list[str]) -> dict[str, object]:
        login = {"accessKey": key, "secretKey": secret}
        return {"name": name, "credentials": [login], "actions": actions}

    return {
        "identities": [
            identity("tests", store.key, store.secret, ["Admin"]),
            identity("reader", store.reader_key, store.reader_secret, ["Read", "List"]),
        ]
    }


def _wait_for(store: ObjectStore, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until a file can be written, which takes some seconds longer than a first answer."""
    end = time.monotonic() + _START_SECONDS
    client = store.client()
    while True:
        try:
            if not client.exists("ready"):
                client.mkdir("ready")
            client.pipe_file("ready/probe", b"x")
            client.rm("ready", recursive=True)
        except Exception:  # noqa: BLE001  # whatever the client makes of a server half started
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"weed does not answer:\n{log.read_text()[-3000:]}")
            time.sleep(0.2)
        else:
            return
