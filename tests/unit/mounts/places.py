"""A server that mounts folders of a bucket, with what a test does to it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from nablahub.mounts import propagation, running
from nablahub.mounts.api import MountsAPI
from nablahub.mounts.types import Mount
from nablahub.storage.api import StorageAPI
from tests.support import waiting
from tests.support.buckets import WithBucket
from tests.support.s3 import SeaweedFS
from tests.support.service import RunningService
from tests.unit.mounts.test_mounts import EXTENSIONS


class Place(WithBucket):
    """A server of alice, without a sandbox, and a bucket of hers under the name `ours`."""

    def __init__(self, root: Path, s3: SeaweedFS, by: str) -> None:
        self.root, self.s3, self.by = root, s3, by
        self._settings: dict[str, Any] = {"allow_private_addresses": True, "bucket_mounts": by}
        self.begin()
        self.view = self.service.state.server("alice", "") / "datasets"
        self.view.mkdir(parents=True)
        self.seen = self.service.state.server_buckets("alice", "")
        for name in ("read", "write"):
            (self.seen / name).mkdir(parents=True)
        self.bucket = s3.bucket()
        self.storage = StorageAPI(self.service.transport())
        self.provide(self.storage)
        self.start_server()

    def begin(self, **settings: Any) -> None:
        self._settings |= settings
        self.service = RunningService(self.root, EXTENSIONS, **self._settings).start()

    def start_server(self) -> None:
        with running.begun(self.view.parent) as lock:
            self.server = subprocess.Popen(["sleep", "infinity"], stdin=lock)
            running.note(lock, self.server.pid)

    def kill_server(self) -> None:
        self.server.kill()
        self.server.wait()

    @property
    def api(self) -> MountsAPI:
        return MountsAPI(self.service.transport())

    def mounted(self, name: str) -> Mount:
        return self.api.named(name)

    def until_stopped(self, name: str) -> Mount:
        waiting.until(lambda: self.mounted(name).state == "Stopped", "the mount is put away")
        return self.mounted(name)

    def objects(self) -> set[str]:
        return set(self.s3.keys(self.bucket))

    def on_machine(self) -> list[str]:
        """What there is of mounts on this machine."""
        left = [at for at in propagation._table("self") if str(self.root) in at]
        folders = (*self.root.glob("server-mounts/*"), *self.seen.glob("*/*"))
        return left + [str(path) for path in folders]
