"""An S3 that is overloaded, cuts, stands still or refuses an old URL: clients go on, or say why."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest

from nablahub.core import s3_transfers
from nablahub.core.store_errors import StoreAway
from nablahub.datasets import direct, patience
from tests.support.s3 import SeaweedFS
from tests.support.s3_proxy import CountingProxy
from tests.support.service import RunningService, running
from tests.support.stores import own_store
from tests.unit.datasets.builders import entry, read, write
from tests.unit.datasets.hub import EXTENSIONS, api_of

MIB = 1024 * 1024
SLOW_DOWN = (
    b'<?xml version="1.0"?><Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)


class Moody(CountingProxy):
    """Answers the signed requests of clients badly, a few times."""

    def __init__(self, target: str) -> None:
        self.mood, self.times = "", 0
        self._mine = threading.Lock()
        self._end = threading.Event()
        super().__init__(target)

    def be(self, mood: str, times: int) -> None:
        """Be in a mood for so many requests."""
        self.mood, self.times = mood, times

    def forward(self, call: BaseHTTPRequestHandler) -> None:
        """Pass a request on, or not."""
        signed = "X-Amz-Signature" in call.path
        with self._mine:
            bad = signed and self.times > 0
            self.times -= bad
        if not bad:
            super().forward(call)
            return
        call.rfile.read(int(call.headers.get("Content-Length", "0")))
        call.close_connection = True
        if self.mood == "busy":
            call.send_response(503)
            call.send_header("Content-Length", str(len(SLOW_DOWN)))
            call.end_headers()
            call.wfile.write(SLOW_DOWN)
        elif self.mood == "reset":
            call.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            call.connection.close()
        else:
            self._end.wait(60)

    def close(self) -> None:
        """Stop."""
        self._end.set()
        super().close()


@pytest.fixture(scope="module")
def proxy(s3: SeaweedFS) -> Iterator[Moody]:
    made = Moody(s3.endpoint)
    yield made
    made.close()


@pytest.fixture(scope="module")
def service(
    s3: SeaweedFS, proxy: Moody, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    own = own_store(s3, tmp_path_factory.mktemp("keys"), endpoint=proxy.url)
    root = tmp_path_factory.mktemp("state")
    with running(root, EXTENSIONS, object_store=own, allow_private_addresses=True) as found:
        yield found


@pytest.mark.parametrize("mood", ["busy", "reset", pytest.param("still", marks=pytest.mark.slow)])
def test_a_client_backs_off_and_goes_on(
    service: RunningService,
    proxy: Moody,
    tmp_path: Path,
    mood: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if mood == "still":
        monkeypatch.setattr(direct, "SILENT_SECONDS", 2.0)
    api, dataset = api_of(service), api_of(service).create(mood).id
    files = {"big": os.urandom(20 * MIB), "a": b"1"}
    mark = len(proxy.passed)
    proxy.be(mood, 3)
    api.upload(dataset, write(tmp_path / "tree", files))
    assert proxy.times == 0
    parts = [p for p in proxy.since(mark) if p.is_part and p.status == 200]
    assert len(parts) == 3  # Two of the large file, one pack: none of them twice.
    proxy.be(mood, 3)
    api.download(dataset, tmp_path / "back")
    assert proxy.times == 0
    assert read(tmp_path / "back") == files


def test_a_store_that_stays_busy_is_named(
    service: RunningService, proxy: Moody, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, dataset = api_of(service), api_of(service).create("busy for good").id
    tree = write(tmp_path / "tree", {"big": os.urandom(2 * MIB)})
    monkeypatch.setattr(patience, "TRIES", 2)
    proxy.be("busy", 1000)
    with pytest.raises(StoreAway, match=r"answered 503: .*SlowDown.*goes on where it stopped"):
        api.upload(dataset, tree)
    proxy.be("", 0)
    assert list(api.versions(dataset)) == []
    api.upload(dataset, tree)
    assert api.verify(dataset).damaged == []


def test_an_old_url_is_renewed(
    service: RunningService, proxy: Moody, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, dataset = api_of(service), api_of(service).create("renewed").id
    data = os.urandom(20 * MIB)
    put = direct.Bucket.put
    monkeypatch.setattr(s3_transfers, "SIGNED_SECONDS", 1)
    late: list[str] = []

    def put_late(bucket: direct.Bucket, url: str, body: Iterable[bytes], size: int) -> None:
        part = b"".join(body)
        if not late:  # As from a client that was suspended: its first URL is too old.
            late.append(url)
            monkeypatch.setattr(s3_transfers, "SIGNED_SECONDS", 3600)
            while httpx.put(url, content=part).status_code == 200:
                pass
        put(bucket, url, [part], size)

    monkeypatch.setattr(direct.Bucket, "put", put_late)
    mark = len(proxy.passed)
    api.upload(dataset, write(tmp_path / "tree", {"big": data}))
    assert len(late) == 1
    assert 403 in {p.status for p in proxy.since(mark) if p.is_part}
    assert api.read(dataset, "big") == data


def test_two_clients_put_the_same_files_at_once(
    service: RunningService, proxy: Moody, tmp_path: Path
) -> None:
    dataset = api_of(service).create("twice at once").id
    files = {"big": os.urandom(20 * MIB), "a": b"1"}
    write(tmp_path / "tree", files)
    start = threading.Barrier(2)
    wrong: list[BaseException] = []

    def send() -> None:
        api = api_of(service)
        start.wait(30)
        try:
            api.upload(dataset, tmp_path / "tree", again=True)
        except BaseException as error:  # noqa: BLE001 - told by the test
            wrong.append(error)

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert wrong == []
    api = api_of(service)
    assert len(list(api.versions(dataset))) == 2
    for version in api.versions(dataset):
        assert api.verify(version.id).damaged == []
    api.download(dataset, tmp_path / "back")
    assert read(tmp_path / "back") == files


def test_what_is_another_teams_is_not_there(service: RunningService) -> None:
    api, hub, bob = api_of(service), service.transport(), service.transport("bob")
    dataset, mine = api.create("mine").id, api_of(service, "bob").create("his").id
    made = hub.post(f"/datasets/{dataset}/uploads", {})
    row = entry("x", os.urandom(2 * MIB))
    asked = {"kind": "object", "name": row.md5, "sha256": row.sha256, "size": row.size}
    path = f"uploads/{made['version']}/transfers"
    hub.request("POST", f"/datasets/{dataset}/{path}", body=asked)
    for where in (f"/datasets/{dataset}/{path}", f"/datasets/{mine}/{path}"):
        for ending in ("", "/finish"):
            with pytest.raises(Exception, match="no ") as refused:
                bob.request("POST", where + ending, body=asked)
            assert type(refused.value).__name__ in ("NoSuchDataset", "NoSuchUpload")
    # An object's hashes tell nothing of what other teams have.
    his = bob.post(f"/datasets/{mine}/uploads", {})
    objects = {"objects": [{"md5": row.md5, "sha256": row.sha256, "size": row.size}]}
    answer = bob.request("POST", f"/datasets/{mine}/uploads/{his['version']}/missing", body=objects)
    assert answer == {"missing": [row.md5]}
    again = {"Idempotency-Key": "the same"}
    first = hub.request("POST", f"/datasets/{dataset}/uploads", body={}, headers=again)
    assert hub.request("POST", f"/datasets/{dataset}/uploads", body={}, headers=again) == first
    theirs = bob.request("POST", f"/datasets/{mine}/uploads", body={}, headers=again)
    assert theirs["id"] != first["id"]
