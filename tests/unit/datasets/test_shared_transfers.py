"""Transfers straight to an S3 that several uploads have, or that are given up and begun anew."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from sqlalchemy.orm import Session

from nablahub.core.errors import Invalid
from nablahub.core.transport import Transport
from nablahub.datasets import transfers
from nablahub.datasets.errors import PartsMissing
from nablahub.datasets.store import TransferRow
from tests.support.s3 import SeaweedFS
from tests.support.service import RunningService, running
from tests.support.stores import collect, own_store
from tests.unit.datasets.builders import entry
from tests.unit.datasets.hub import EXTENSIONS, api_of

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def service(s3: SeaweedFS, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    own = own_store(s3, tmp_path_factory.mktemp("keys"))
    root = tmp_path_factory.mktemp("state")
    with running(root, EXTENSIONS, object_store=own, allow_private_addresses=True) as found:
        yield found


def _begun(hub: Transport, dataset: str) -> str:
    """Begin an upload and return its path."""
    path = f"/datasets/{dataset}/uploads"
    return f"{path}/{hub.post(path, {})['version']}"


def test_what_another_request_proves_just_now_is_not_sent_again(
    service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, hub, data = api_of(service), service.transport(), os.urandom(2_000_000)
    dataset, row = api.create("proved just now").id, entry("x", data)
    asked = {"kind": "object", "name": row.md5, "sha256": row.sha256, "size": row.size}
    first, second = _begun(hub, dataset), _begun(hub, dataset)
    [part] = hub.request("POST", f"{first}/transfers", body=asked)["parts"]
    assert httpx.put(part["url"], content=data).status_code == 200
    prove, proving, go_on = transfers.prove, threading.Event(), threading.Event()

    def slowly(*given: Any) -> Any:
        proving.set()
        assert go_on.wait(60)
        return prove(*given)

    monkeypatch.setattr(transfers, "prove", slowly)
    with ThreadPoolExecutor(1) as aside:
        finishing = aside.submit(hub.request, "POST", f"{first}/transfers/finish", body=asked)
        try:
            assert proving.wait(60)
            plan = service.transport().request("POST", f"{second}/transfers", body=asked)
            assert (plan["arrived"], plan["parts"]) == (row.size, [])
        finally:
            go_on.set()
        assert finishing.result() == {"complete": True}
    assert hub.request("POST", f"{second}/transfers/finish", body=asked) == {"complete": True}
    for upload in (first, second):
        hub.request("POST", f"{upload}/commit", content=row.line().encode())
    assert [api.read(version.id, "x") for version in api.versions(dataset)] == [data, data]


def test_who_plans_what_another_sends_takes_nothing_from_it_when_it_is_cancelled(
    service: RunningService,
) -> None:
    api, hub, data = api_of(service), service.transport(), os.urandom(3 * MIB)
    row = entry("x", data)
    asked = {"kind": "object", "name": row.md5, "sha256": row.sha256, "size": len(data)}
    names = [api.create(f"sent by {who}").id for who in ("one", "another")]
    uploads = [_begun(hub, name) for name in names]
    plan, _ = (hub.post(f"{upload}/transfers", asked) for upload in uploads)
    hub.delete(uploads[1])
    collect(service, api.get(names[0]).team_id)
    for part in plan["parts"]:
        sent = httpx.put(part["url"], content=data, trust_env=False)
        assert sent.status_code == 200
    assert hub.post(f"{uploads[0]}/transfers/finish", asked) == {"complete": True}
    headers = {"Content-Type": "text/plain"}
    hub.request("POST", f"{uploads[0]}/commit", content=row.line().encode(), headers=headers)
    assert api.read(names[0], "x") == data


def test_what_was_given_up_and_begun_anew_while_it_was_proved_does_not_count(
    service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, hub, data = api_of(service), service.transport(), os.urandom(3 * MIB)
    row, name = entry("x", data), api_of(service).create("begun anew").id
    asked = {"kind": "object", "name": row.md5, "sha256": row.sha256, "size": len(data)}
    upload = _begun(hub, name)
    prove = transfers.prove
    proved: list[Any] = []

    def given_up(target: transfers.Target, keep_table: Any) -> Any:
        got = prove(target, keep_table)
        if not proved:
            proved.append(got)

            def begun_anew(session: Session) -> None:
                found = session.get_one(TransferRow, (target.space, target.key))
                found.multipart = target.store.transfers.begin(target.key)

            target.store.remove(target.key)
            service.service.database.write_sync(begun_anew)
        return got

    monkeypatch.setattr(transfers, "prove", given_up)
    for part in hub.post(f"{upload}/transfers", asked)["parts"]:
        httpx.put(part["url"], content=data, trust_env=False)
    with pytest.raises(PartsMissing):
        hub.post(f"{upload}/transfers/finish", asked)
    # Which is what a client sends it anew for.
    for part in hub.post(f"{upload}/transfers", asked)["parts"]:
        httpx.put(part["url"], content=data, trust_env=False)
    assert hub.post(f"{upload}/transfers/finish", asked) == {"complete": True}
    headers = {"Content-Type": "text/plain"}
    hub.request("POST", f"{upload}/commit", content=row.line().encode(), headers=headers)
    assert api.read(name, "x") == data


def test_a_small_object_is_told_to_come_in_a_pack(service: RunningService) -> None:
    hub, row, name = service.transport(), entry("x", b"small"), api_of(service).create("small").id
    upload = _begun(hub, name)
    asked = {"kind": "object", "name": row.md5, "sha256": row.sha256, "size": 5}
    with pytest.raises(Invalid, match="small one"):
        hub.post(f"{upload}/transfers", asked)
