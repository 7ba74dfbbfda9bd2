"""A real S3: SeaweedFS on this machine, on ports of its own, with its data in memory."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import botocore.session
import httpx
from botocore.config import Config

from nablahub.core.storesettings import StoreConfig
from nablahub_hub.local.config import free_ports

KEY, SECRET = "nablahub-key", "nablahub-secret-Zk3"
REGION = "eu-test-1"


class SeaweedFS:
    """One server with one account, that may be killed and started again.

    Parameters
    ----------
    folder : pathlib.Path
        Where its data lie.
    host : str
        This machine's address that its S3 listens at.
    """

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self.folder = folder
        self._host = host
        self._ports = free_ports(8)
        self.endpoint = f"http://{host}:{self._ports[0]}"
        self._process: subprocess.Popen[bytes] | None = None
        self._client: Any = None

    def start(self) -> None:
        """Start it and wait until it answers and has room."""
        (self.folder / "data").mkdir(exist_ok=True)
        account = {
            "name": "test", "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        }  # fmt: skip
        (self.folder / "s3.json").write_text(json.dumps({"identities": [account]}))
        s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc = self._ports
        command = [
            str(Path(sys.executable).with_name("weed")), "server", f"-dir={self.folder}/data",
            "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3",
            f"-s3.config={self.folder}/s3.json", f"-s3.ip.bind={self._host}",
            f"-s3.port={s3}", f"-s3.port.grpc={s3_grpc}",
            "-s3.port.iceberg=0", "-s3.port.lance=0", f"-master.port={master}",
            f"-master.port.grpc={master_grpc}", f"-volume.port={volume}",
            f"-volume.port.grpc={volume_grpc}", f"-filer.port={filer}",
            f"-filer.port.grpc={filer_grpc}", f"-filer.localSocket={self.folder}/filer.sock",
            f"-s3.localSocket={self.folder}/s3.sock", "-master.telemetry=false",
            "-s3.autoCreateBucket=false", "-master.volumeSizeLimitMB=256", "-volume.max=4000",
            "-volume.minFreeSpacePercent=0",
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        self._wait()

    def _wait(self) -> None:
        """Wait until an object can be written: before that it listens and has no room."""
        deadline = time.monotonic() + 120
        bucket = f"ready-{uuid4().hex[:8]}"
        while True:
            assert self._process is not None
            assert self._process.poll() is None, (self.folder / "log").read_text()[-3000:]
            try:
                httpx.get(self.endpoint, trust_env=False, timeout=5)
                client = self.client()
                client.create_bucket(Bucket=bucket)
                client.put_object(Bucket=bucket, Key="x", Body=b"x")
                client.delete_object(Bucket=bucket, Key="x")
                client.delete_bucket(Bucket=bucket)
            except Exception:  # noqa: BLE001 - whatever it says while it starts
                assert time.monotonic() < deadline, (self.folder / "log").read_text()[-3000:]
                time.sleep(0.1)
            else:
                return

    def client(self) -> Any:
        """Return a botocore client of the account."""
        if self._client is None:
            self._client = botocore.session.Session().create_client(
                "s3", endpoint_url=self.endpoint, aws_access_key_id=KEY,
                aws_secret_access_key=SECRET, region_name=REGION,
                config=Config(
                    s3={"addressing_style": "path"}, retries={"total_max_attempts": 2},
                    connect_timeout=5, read_timeout=30, proxies={},
                ),
            )  # fmt: skip
        return self._client

    def bucket(self) -> str:
        """Make a bucket that nobody else has."""
        name = f"b-{uuid4().hex[:16]}"
        self.client().create_bucket(Bucket=name)
        return name

    def config(self, bucket: str | None = None, **fields: Any) -> StoreConfig:
        """Return how to reach a bucket, a new one by default."""
        given = {
            "url": f"s3://{bucket or self.bucket()}", "endpoint": self.endpoint, "region": REGION,
            "access_key": KEY, "secret_key": SECRET, "path_style": True,
        }  # fmt: skip
        return StoreConfig.model_validate({**given, **fields})

    def keys(self, bucket: str) -> set[str]:
        """Return the keys in a bucket."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {item["Key"] for page in pages for item in page.get("Contents", [])}

    def multiparts(self, bucket: str) -> set[str]:
        """Return the keys of a bucket's uploads that are not completed."""
        found = self.client().list_multipart_uploads(Bucket=bucket)
        return {item["Key"] for item in found.get("Uploads", [])}

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """While the block runs, it hears and says nothing, and forgets nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it with no time to say goodbye."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


@contextmanager
def seaweedfs(host: str = "127.0.0.1") -> Iterator[SeaweedFS]:
    """Run a server for the length of a ``with``; nothing is left of it."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp("", "nablahub-s3-", memory if memory.is_dir() else None))
    server = SeaweedFS(folder, host)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)
