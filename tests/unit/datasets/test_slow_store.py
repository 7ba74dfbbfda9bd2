"""A store that does not answer keeps waiting those who need it, and nobody else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from nablahub.core.times import now
from nablahub.datasets.api import DatasetsAPI
from nablahub.datasets.store import VersionRow
from tests.support.s3 import SeaweedFS
from tests.support.s3_proxy import CountingProxy
from tests.support.service import RunningService, running
from tests.support.stores import own_store
from tests.support.waiting import until
from tests.unit.datasets.builders import write
from tests.unit.datasets.hub import EXTENSIONS, api_of

FILES = {f"small/{i:03}": b"%d" % i for i in range(50)}


class Stalling(CountingProxy):
    """Lets nothing pass while it is closed."""

    def __init__(self, target: str) -> None:
        self._open = threading.Event()
        self._open.set()
        self.waiting = 0
        self._come = threading.Condition()
        super().__init__(target)

    def forward(self, call: BaseHTTPRequestHandler) -> None:
        """Pass a request on when it is open."""
        if not self._open.is_set():
            with self._come:
                self.waiting += 1
                self._come.notify_all()
            self._open.wait(60)
        super().forward(call)

    def stall(self) -> None:
        """Close."""
        self._open.clear()

    def wait_for(self, count: int) -> None:
        """Wait until so many requests wait."""
        with self._come:
            assert self._come.wait_for(lambda: self.waiting >= count, 60), self.waiting

    def go(self) -> None:
        """Open."""
        self._open.set()


@pytest.fixture
def proxy(s3: SeaweedFS) -> Iterator[Stalling]:
    made = Stalling(s3.endpoint)
    yield made
    made.go()
    made.close()


def test_a_slow_store_keeps_nobody_else_waiting(
    proxy: Stalling, s3: SeaweedFS, tmp_path: Path
) -> None:
    own = own_store(s3, tmp_path / "keys", endpoint=proxy.url)
    settings: dict[str, Any] = {"object_store": own, "allow_private_addresses": True}
    with running(tmp_path / "state", EXTENSIONS, **settings) as service:
        api = api_of(service)
        dataset, old = prepared(service, api, tmp_path)
        other = api.create("purged").id
        first = api.upload(other, tmp_path / "tree")
        api.upload(other, write(tmp_path / "more", {"x": b"y"}))
        api.delete_version(first.id)
        api.collect(other, really=True)
        derived(api, dataset, other)
    # Another one, which has nothing of it in memory yet.
    with running(tmp_path / "state", EXTENSIONS, **settings) as service:
        api = api_of(service)
        datasets = service.service.context.services[-1]
        draft = api.draft(dataset)
        draft.put("another", b"1")
        due(service, first.id)
        work: list[Callable[[], Any]] = [
            lambda: list(api_of(service).files(dataset)),
            lambda: api_of(service).read(dataset, "small/001"),
            lambda: list(api_of(service).diff(dataset, old)),
            lambda: api_of(service).collect(dataset),
            lambda: api_of(service).collect(dataset, really=True),
            lambda: api_of(service).verify(old),
            draft.commit,
            lambda: datasets.building.purge(other),
        ]
        proxy.stall()
        with ThreadPoolExecutor(len(work)) as pool:
            futures = [pool.submit(one) for one in work]
            proxy.wait_for(len(work))
            # Another team, meanwhile: readers and the one writer are free.
            bob = api_of(service, "bob")
            mine = bob.create("mine")
            assert bob.change(mine, description="changed").description == "changed"
            made = service.transport("bob").post(f"/datasets/{mine.id}/uploads", {})
            service.transport("bob").delete(f"/datasets/{mine.id}/uploads/{made['version']}")
            assert [found.name for found in bob.list()] == ["mine"]
            assert [n for n, future in enumerate(futures) if future.done()] == []
            proxy.go()
            for future in futures:
                future.result()
        assert api.read(dataset, "another") == b"1"
        assert [v.number for v in api.versions(other)] == [2]


def prepared(service: RunningService, api: DatasetsAPI, folder: Path) -> tuple[str, str]:
    """Return a dataset and its first version; a second one is deleted."""
    dataset = api.create("slow").id
    tree = write(folder / "tree", FILES)
    old = api.upload(dataset, tree)
    (tree / "small/007").write_bytes(b"changed")
    gone = api.upload(dataset, tree)
    (tree / "small/007").write_bytes(b"again")
    api.upload(dataset, tree)
    api.delete_version(gone.id)
    return dataset, old.id


def derived(api: DatasetsAPI, *datasets: str) -> None:
    """Wait for what is made of a version after its commit: it reads the version's files."""
    until(
        lambda: all(version.dvc_md5 for of in datasets for version in api.versions(of)),
        "all are derived",
    )


def due(service: RunningService, version: str) -> None:
    """Let the day of a condemned version come."""

    def work(session: Session) -> None:
        session.get_one(VersionRow, version).purge_at = now() - timedelta(seconds=1)

    service.service.database.write_sync(work)
