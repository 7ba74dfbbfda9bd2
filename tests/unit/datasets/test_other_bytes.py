"""Data is addressed by md5, and nobody's bytes take the place of others that have the same."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from nablahub.core.idempotency import KeyReused
from nablahub.datasets.errors import BadObject, OtherBytes
from tests.support.service import RunningService
from tests.unit.datasets.builders import entries, write
from tests.unit.datasets.hub import api_of, fresh

#: Two blocks of one md5, which differ in the highest bit of six bytes:
#: Wang and Yu, How to Break MD5 and Other Hash Functions, EUROCRYPT 2005.
ONE = bytes.fromhex(
    "d131dd02c5e6eec4693d9a0698aff95c2fcab58712467eab4004583eb8fb7f89"
    "55ad340609f4b30283e488832571415a085125e8f7cdc99fd91dbdf280373c5b"
    "d8823e3156348f5bae6dacd436c919c6dd53e2b487da03fd02396306d248cda0"
    "e99f33420f577ee8ce54b67080a80d1ec69821bcb6a8839396f9652b6ff72a70"
)
OTHER = bytes(byte ^ 0x80 * (at in (19, 45, 59, 83, 109, 123)) for at, byte in enumerate(ONE))
LARGE = b"as many as make it large " * 100_000


@pytest.fixture
def dataset(service: RunningService, request: pytest.FixtureRequest) -> str:
    return fresh(service, request)


def begin(service: RunningService, dataset: str) -> str:
    upload = service.transport().post(f"/datasets/{dataset}/uploads", {})["version"]
    return f"/datasets/{dataset}/uploads/{upload}"


@pytest.mark.parametrize("more", [b"", LARGE], ids=["small", "large"])
def test_what_has_the_md5_of_something_stored_is_refused(
    service: RunningService, dataset: str, more: bytes, tmp_path: Path
) -> None:
    api, one, other = api_of(service), ONE + more, OTHER + more
    assert hashlib.md5(one).digest() == hashlib.md5(other).digest()
    made = api.write(dataset, "one", one)
    with pytest.raises(OtherBytes, match=hashlib.md5(one).hexdigest()):
        api.write(dataset, "other", other)
    with pytest.raises(OtherBytes):
        api.upload(dataset, write(tmp_path / "tree", {"other": other, "more": b"more"}))
    assert api.read(dataset, "one") == one
    assert [version.id for version in api.versions(dataset)] == [made.id]


def test_large_bytes_of_another_dataset_are_not_written_over(
    service: RunningService, dataset: str, request: pytest.FixtureRequest
) -> None:
    api, hub = api_of(service), service.transport()
    api.write(dataset, "one", ONE + LARGE)
    other = OTHER + LARGE
    row = entries({"other": other})[0]
    path = begin(service, fresh(service, request, "second "))
    params = {"sha256": row.sha256, "size": row.size, "offset": 0}
    with pytest.raises(OtherBytes):
        hub.request("PUT", f"{path}/objects/{row.md5}", params=params, content=other)
    hub.delete(path)
    assert api.read(dataset, "one") == ONE + LARGE


@pytest.mark.parametrize("lie", [{"sha256": "0" * 64}, {"size": 1_100_000}], ids=["sha256", "size"])
def test_a_lie_about_a_stored_object_costs_nothing(
    service: RunningService, dataset: str, request: pytest.FixtureRequest, lie: dict[str, Any]
) -> None:
    api, hub, data = api_of(service), service.transport(), os.urandom(3_000_000)
    api.write(dataset, "x", data)
    row = entries({"x": data})[0]
    path = begin(service, fresh(service, request, "liar "))
    asked = {"kind": "object", "name": row.md5, "sha256": row.sha256, "size": row.size, **lie}

    def send() -> None:
        if hub.get(path)["direct"]:
            for part in hub.post(f"{path}/transfers", asked)["parts"]:
                httpx.put(part["url"], content=b"g" * part["size"], trust_env=False)
            hub.post(f"{path}/transfers/finish", asked)
        else:
            params = {"sha256": asked["sha256"], "size": asked["size"], "offset": 0}
            where, content = f"{path}/objects/{row.md5}", data[: asked["size"]]
            hub.request("PUT", where, params=params, content=content)

    with pytest.raises((OtherBytes, BadObject)):
        send()
    assert api.read(dataset, "x") == data


def test_a_size_that_shrinks_at_the_last_piece_is_refused(
    service: RunningService, dataset: str
) -> None:
    hub, data = service.transport(), os.urandom(3_000_000)
    row, path = entries({"z": data})[0], begin(service, dataset)
    where = f"{path}/objects/{row.md5}"
    params = {"sha256": row.sha256, "size": len(data) + 1, "offset": 0}
    hub.request("PUT", where, params=params, content=data)
    shrunk = {**params, "size": 1_100_000, "offset": len(data)}
    with pytest.raises(BadObject, match="More bytes"):
        hub.request("PUT", where, params=shrunk, content=b"")
    api_of(service).write(dataset, "honest", data)
    assert api_of(service).read(dataset, "honest") == data


@pytest.mark.parametrize("size", [500, 3_000_000])
def test_an_upload_that_is_cancelled_takes_nothing_from_another(
    service: RunningService, dataset: str, size: int
) -> None:
    hub, data = service.transport(), os.urandom(size)
    one, two = begin(service, dataset), begin(service, dataset)
    for path in (one, two):
        hub.request("PUT", f"{path}/files/f", content=data)
    hub.delete(one)
    hub.request("POST", f"{two}/commit-changes", body={})
    assert api_of(service).read(dataset, "f") == data


def test_a_pack_that_another_upload_brought_stays_while_it_is_needed(
    service: RunningService, dataset: str
) -> None:
    hub, files = service.transport(), {"a": b"of both"}
    row, one, two = entries(files)[0], begin(service, dataset), begin(service, dataset)
    params = {"sha256": row.sha256, "size": row.size, "offset": 0}
    hub.request("PUT", f"{one}/objects/{row.md5}", params=params, content=files["a"])
    asked = {"objects": [{"md5": row.md5, "sha256": row.sha256, "size": row.size}]}
    assert hub.request("POST", f"{two}/missing", body=asked)["missing"] == []
    hub.delete(one)
    hub.request("POST", f"{two}/commit", content=row.line().encode())
    assert api_of(service).read(dataset, "a") == files["a"]


def test_a_key_that_comes_with_another_file_is_refused(
    service: RunningService, dataset: str
) -> None:
    hub, key = service.transport(), {"Idempotency-Key": "once"}
    name = api_of(service).get(dataset).name
    made = hub.request("PUT", f"/datasets/{dataset}/files/f", content=b"1", headers=key)
    by_name = hub.request("PUT", f"/datasets/{name}/files/f", content=b"1", headers=key)
    assert by_name["id"] == made["id"]
    for content, params in [(b"2", {}), (b"1", {"executable": "true"})]:
        asked: dict[str, Any] = {"content": content, "params": params, "headers": key}
        with pytest.raises(KeyReused):
            hub.request("PUT", f"/datasets/{dataset}/files/f", **asked)
    assert api_of(service).read(dataset, "f") == b"1"
    assert api_of(service).version(dataset).id == made["id"]
