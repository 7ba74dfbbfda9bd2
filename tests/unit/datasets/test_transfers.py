"""Bytes go straight between client and S3: few requests, resumed, proved, in flat memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy.orm import Session

from nablahub.core.errors import Invalid, Unavailable
from nablahub.core.ids import new_id
from nablahub.core.store_errors import StoreAway
from nablahub.datasets import patience, transfers
from nablahub.datasets.api import DatasetsAPI
from nablahub.datasets.drafting import Draft
from nablahub.datasets.store import DamageRow, DatasetRow
from nablahub.storage.api import StorageAPI
from tests.support.s3 import KEY, REGION, SECRET, SeaweedFS, seaweedfs
from tests.support.s3_proxy import CountingProxy, Passed, counting
from tests.support.service import RunningService, running
from tests.support.stores import collect, own_store, stored
from tests.unit.datasets.builders import entry, read, write
from tests.unit.datasets.hub import EXTENSIONS, api_of

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def proxy(s3: SeaweedFS) -> Iterator[CountingProxy]:
    with counting(s3.endpoint) as found:
        yield found


@pytest.fixture(scope="module")
def service(
    s3: SeaweedFS, proxy: CountingProxy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    own = own_store(s3, tmp_path_factory.mktemp("keys"), endpoint=proxy.url)
    root = tmp_path_factory.mktemp("state")
    with running(root, EXTENSIONS, object_store=own, allow_private_addresses=True) as found:
        yield found


def kinds(passed: list[Passed]) -> set[str]:
    """Which kinds of objects were touched."""
    return {p.key.split("/")[2] for p in passed if p.key.count("/") > 2}


def sent_by_client(passed: list[Passed]) -> int:
    return sum(p.sent for p in passed if p.is_part)


def test_the_bytes_never_pass_the_service(
    service: RunningService, proxy: CountingProxy, tmp_path: Path
) -> None:
    api, dataset = api_of(service), api_of(service).create("straight").id
    files = {"big.bin": os.urandom(40 * MIB), "a": b"1", "b": os.urandom(900_000)}
    mark = len(proxy.passed)
    api.upload(dataset, write(tmp_path / "tree", files))
    parts = [p for p in proxy.since(mark) if p.is_part]
    assert sum(p.sent for p in parts) >= sum(map(len, files.values()))
    assert len([p for p in parts if "/files/" in p.key]) == 3  # 16, 16 and 8 MiB
    direct = [p for p in proxy.since(mark) if p.method in ("PUT", "POST") and not p.is_part]
    assert sum(p.sent for p in direct) < 10_000  # The manifest, and the words about parts.
    assert not [f for f in service.state.objects.rglob("*") if f.is_file()]
    mark = len(proxy.passed)
    api.download(dataset, tmp_path / "back")
    assert read(tmp_path / "back") == files
    signed = [p for p in proxy.since(mark) if "X-Amz-Signature" in p.query]
    assert sum(p.got for p in signed) >= sum(map(len, files.values()))
    others = [p for p in proxy.since(mark) if p not in signed]
    assert sum(p.got for p in others) < 10_000


def test_one_file_touches_its_page_and_its_object_only(
    service: RunningService, proxy: CountingProxy, tmp_path: Path
) -> None:
    api, dataset = api_of(service), api_of(service).create("one file").id
    files = {f"{i // 100:03}/{i:05}": b"%d " % i * 50 for i in range(8000)}
    tree = write(tmp_path / "tree", files)
    first = api.upload(dataset, tree)
    whole = sum(p.sent for p in proxy.passed if p.key.endswith(f"{dataset}/{first.version}"))
    page = whole // 2  # A page has 1024 files, and sometimes some more.

    def passed_by(work: object) -> list[Passed]:
        mark = len(proxy.passed)
        assert callable(work)
        work()
        found = proxy.since(mark)
        assert "list-type" not in {name for p in found for name in p.query}
        return found

    def back(version: str) -> list[str]:
        return [f.path for f in api.files(f"{dataset}:{version}")]

    # Reading: the root and one page of the manifest, and a range of one pack.
    found = passed_by(lambda: api.read(dataset, "042/04242"))
    assert api.read(dataset, "042/04242") == files["042/04242"]
    assert {p.method for p in found} <= {"GET", "HEAD"}
    assert [p.got for p in found if "packs" in p.key] == [len(files["042/04242"])]
    manifest = [p for p in found if "manifests" in p.key and p.method == "GET"]
    assert len(manifest) == 2  # Its list of pages, one page.
    assert sum(p.got for p in manifest) < page

    def change(work: object) -> list[Passed]:
        assert callable(work)
        work()
        return passed_by(lambda: api.upload(dataset, tree))

    # Adding: one small pack, and a manifest that holds one page and the list of all.
    found = change(lambda: (tree / "042/new").write_bytes(b"new"))
    assert [p.sent for p in found if p.is_part] == [16 + 56 + 3]
    assert sum(p.sent for p in found if "manifests" in p.key) < page
    assert not [p for p in found if "/packs/" in p.key and p.got > 1000]
    # Renaming: no object at all.
    found = change(lambda: (tree / "042/new").rename(tree / "042/newer"))
    assert kinds(found) == {"manifests"}
    assert sum(p.sent for p in found) < page
    # Deleting: the same.
    found = change((tree / "042/newer").unlink)
    assert kinds(found) == {"manifests"}
    assert sum(p.sent for p in found) < page
    assert sorted(back("latest")) == sorted(files)
    assert api.version(dataset).digest == first.digest


def test_a_draft_of_one_file_touches_its_page_and_its_object_only(
    service: RunningService, proxy: CountingProxy, tmp_path: Path
) -> None:
    api, dataset = api_of(service), api_of(service).create("one file of a draft").id
    files = {f"{i // 100:03}/{i:05}": b"%d " % i * 50 for i in range(8000)}
    first = api.upload(dataset, write(tmp_path / "tree", files))
    whole = sum(p.sent for p in proxy.passed if p.key.endswith(f"{dataset}/{first.version}"))

    def passed_by(change: Callable[[Draft], object]) -> list[Passed]:
        mark = len(proxy.passed)
        with api.draft(dataset) as draft:
            change(draft)
            draft.commit()
        found = proxy.since(mark)
        assert "list-type" not in {name for p in found for name in p.query}
        manifests = [p for p in found if "manifests" in p.key]
        assert sum(p.sent for p in manifests) < whole // 2
        # What is got of manifests is not bounded: the tree for DVC is derived beside.
        assert not [p for p in manifests if p.method == "HEAD"]
        assert not [p for p in found if "/packs/" in p.key and p.method != "PUT"]
        return found

    found = passed_by(lambda draft: draft.put("042/new", b"new"))
    assert [p.sent for p in found if "/packs/" in p.key and p.sent] == [16 + 56 + 3]
    # Who changed a file and reads it: nothing of the new manifest is asked for again.
    assert api.read(dataset, "042/new") == b"new"
    new = f"{dataset}/{api.version(dataset).version}"
    assert {p.method for p in proxy.passed if p.key.endswith(new)} <= {"PUT", "POST"}
    assert kinds(passed_by(lambda draft: draft.rename("042/new", "042/newer"))) == {"manifests"}
    assert kinds(passed_by(lambda draft: draft.remove("042/newer"))) == {"manifests"}
    assert api.version(dataset).digest == first.digest


CLIENT = """
import sys
from pathlib import Path
from nablahub.core.transport import Transport
from nablahub.datasets.api import DatasetsAPI
from nablahub.datasets.drafting import Draft
url, dataset, source = sys.argv[1:]
DatasetsAPI(Transport(url, "token-of-alice")).upload(dataset, Path(source))
"""


def test_a_client_killed_in_the_middle_goes_on_where_it_was(
    service: RunningService, proxy: CountingProxy, tmp_path: Path
) -> None:
    api, dataset = api_of(service), api_of(service).create("killed").id
    data = os.urandom(100 * MIB)
    source = write(tmp_path / "tree", {"big.bin": data})
    mark = len(proxy.passed)
    proxy.hold_after(3)
    client = subprocess.Popen([sys.executable, "-c", CLIENT, service.url, dataset, str(source)])
    proxy.wait_for_parts(3, mark)
    client.send_signal(signal.SIGKILL)
    client.wait()
    assert list(api.versions(dataset)) == []
    mark = len(proxy.passed)
    proxy.release()
    seen: list[int] = []
    api.upload(dataset, source, progress=lambda done, _: seen.append(done))
    assert sent_by_client(proxy.since(mark)) < len(data) - 2 * 16 * MIB
    assert seen[0] >= 2 * 16 * MIB
    assert seen[-1] == len(data)
    assert api.read(dataset, "big.bin") == data
    assert not [name for name in stored(service) if "begun" in name]


@pytest.mark.slow
def test_an_s3_killed_in_the_middle_is_said_and_the_upload_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with seaweedfs() as own, counting(own.endpoint) as proxy:
        settings = own_store(own, tmp_path / "keys", endpoint=proxy.url)
        with running(tmp_path / "state", EXTENSIONS, object_store=settings) as service:
            api = api_of(service)
            dataset = api.create("s3 killed").id
            data = os.urandom(80 * MIB)
            source = write(tmp_path / "tree", {"big.bin": data})
            proxy.hold_after(2)

            def kill() -> None:
                proxy.wait_for_parts(2, 0)
                own.kill()
                proxy.release()

            killer = threading.Thread(target=kill)
            killer.start()
            monkeypatch.setattr(patience, "TRIES", 1)
            with pytest.raises(StoreAway, match=r"does not answer.*same command again"):
                api.upload(dataset, source)
            killer.join()
            with pytest.raises(Unavailable, match=r"object store|Nothing answers"):
                api.upload(dataset, source)
            assert list(api.versions(dataset)) == []
            assert api.get(dataset).name == "s3 killed"  # All else works.
            own.start()
            monkeypatch.undo()
            mark = len(proxy.passed)
            api.upload(dataset, source)
            assert sent_by_client(proxy.since(mark)) < len(data)
            assert api.read(dataset, "big.bin") == data


def test_lies_are_found_out_and_nothing_is_kept(service: RunningService) -> None:
    api, hub = api_of(service), service.transport()
    dataset = api.create("lies").id
    made = hub.post(f"/datasets/{dataset}/uploads", {})
    assert made["direct"] is True
    path = f"/datasets/{dataset}/uploads/{made['version']}/transfers"
    before = stored(service)
    row = entry("x", b"t" * 2_000_000)
    asked = {"kind": "object", "name": row.md5, "sha256": row.sha256, "size": row.size}
    [part] = hub.request("POST", path, body=asked)["parts"]
    assert httpx.put(part["url"], content=b"f" * row.size).status_code == 200
    with pytest.raises(Invalid, match="does not have the bytes"):
        hub.request("POST", f"{path}/finish", body=asked)
    assert stored(service) == before
    pack = {"kind": "pack", "name": "0" * 64, "size": 1000}
    [part] = hub.request("POST", path, body=pack)["parts"]
    assert httpx.put(part["url"], content=b"f" * 1000).status_code == 200
    with pytest.raises(Invalid, match="not a pack"):
        hub.request("POST", f"{path}/finish", body=pack)
    assert stored(service) == before
    # Sent rightly, it counts, and the URL that it was sent by can change nothing any more.
    [part] = hub.request("POST", path, body=asked)["parts"]
    assert httpx.put(part["url"], content=b"t" * row.size).status_code == 200
    assert hub.request("POST", f"{path}/finish", body=asked) == {"complete": True}
    assert httpx.put(part["url"], content=b"f" * row.size).status_code == 404
    hub.request("POST", path.replace("transfers", "commit"), content=row.line().encode())
    assert api.read(dataset, "x") == b"t" * row.size


def test_an_upload_given_up_leaves_nothing_in_the_bucket(service: RunningService) -> None:
    api, hub = api_of(service), service.transport()
    dataset = api.create("given up")
    before = stored(service)
    made = hub.post(f"/datasets/{dataset.id}/uploads", {})
    path = f"/datasets/{dataset.id}/uploads/{made['version']}"
    row = entry("x", os.urandom(2_000_000))
    asked = {"kind": "object", "name": row.md5, "sha256": row.sha256, "size": row.size}
    [part] = hub.request("POST", f"{path}/transfers", body=asked)["parts"]
    httpx.put(part["url"], content=b"half")
    assert stored(service) != before
    hub.delete(path)
    collect(service, dataset.team_id)
    assert stored(service) == before


def test_a_team_keeps_a_dataset_in_its_own_bucket(
    service: RunningService, s3: SeaweedFS, tmp_path: Path
) -> None:
    hub = service.transport()
    bucket = s3.bucket()
    provider = StorageAPI(hub).create(
        "own", bucket, KEY, SECRET, endpoint=s3.endpoint, region=REGION, prefix="data"
    )
    api = DatasetsAPI(hub)
    dataset = api.create("in own bucket", storage="own")
    assert dataset.storage_provider_id == provider.id
    files = {"a": b"1", "big.bin": b"b" * 3_000_000}
    before = stored(service)
    version = api.upload(dataset.id, write(tmp_path / "tree", files))
    api.download(dataset.id, tmp_path / "back")
    assert read(tmp_path / "back") == files
    assert stored(service) == before  # Nothing in the hub's own store.
    assert {key.split("/")[0] for key in s3.keys(bucket)} == {"data"}
    other = api_of(service).create("in the hub's store")
    api.upload(other.id, tmp_path / "tree")
    assert stored(service) > before  # Each store has bytes of its own.
    with pytest.raises(Exception, match="holds 1 dataset"):
        StorageAPI(hub).delete("own")
    with pytest.raises(Exception, match="can't be moved"):
        StorageAPI(hub).change(provider, bucket=s3.bucket())
    with pytest.raises(Exception, match="no storage provider"):
        api_of(service, "bob").create("not mine", storage=provider.id)
    tree = service.service.context.services[-1].materialise(version.id)
    assert read(tree) == files
    api.delete(dataset.id)
    collect(service, provider.id)
    assert s3.keys(bucket) == set()
    StorageAPI(hub).delete("own")


def test_the_size_of_parts() -> None:
    assert transfers.part_size(1) == 16 * MIB
    assert transfers.part_size(1000 * 16 * MIB) == 16 * MIB
    for size in (1000 * 16 * MIB + 1, 5 * 10**12):
        part = transfers.part_size(size)
        assert -(-size // part) <= 1000
        assert part % MIB == 0
    assert new_id("storage_provider").startswith("sp")


@pytest.mark.parametrize("size", [700, 3 * MIB])
def test_what_is_whole_is_not_written_over_though_it_was_called_damaged(
    service: RunningService, size: int
) -> None:
    api, hub, data = api_of(service), service.transport(), os.urandom(size)
    dataset = api.create(f"whole {size}").id
    api.write(dataset, "x", data)
    row = entry("x", data)
    packs = [p.rpartition("/")[2] for p in stored(service) if f"/packs/{dataset}/" in p]

    def called_damaged(session: Session) -> None:
        space = session.get_one(DatasetRow, dataset).space
        session.add(DamageRow(team_id=space, dataset_id="" if size > MIB else dataset, md5=row.md5))

    service.service.database.write_sync(called_damaged)
    made = hub.post(f"/datasets/{dataset}/uploads", {})["version"]
    kind, name = ("object", row.md5) if size > MIB else ("pack", packs[0])
    asked = {"kind": kind, "name": name, "size": size if size > MIB else size + 16 + 56}
    if size > MIB:
        asked["sha256"] = row.sha256
    plan = hub.post(f"/datasets/{dataset}/uploads/{made}/transfers", asked)
    assert plan["parts"] == []
    assert api.read(dataset, "x") == data


def test_a_plan_is_made_without_reading_what_takes_long(
    service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "READ_FOR_PLAN", 2 * MIB)
    api, hub, data = api_of(service), service.transport(), os.urandom(3 * MIB)
    dataset = api.create("large").id
    api.write(dataset, "x", data)
    row = entry("x", data)

    def called_damaged(session: Session) -> None:
        space = session.get_one(DatasetRow, dataset).space
        session.add(DamageRow(team_id=space, dataset_id="", md5=row.md5))

    service.service.database.write_sync(called_damaged)
    made = hub.post(f"/datasets/{dataset}/uploads", {})["version"]
    transfer = f"/datasets/{dataset}/uploads/{made}/transfers"
    asked = {"kind": "object", "name": row.md5, "sha256": row.sha256, "size": len(data)}
    assert hub.post(transfer, asked)["parts"]
    # The end reads it, with patience, and finds it whole before anything is written over it.
    assert hub.post(f"{transfer}/finish", asked) == {"complete": True}
    assert hub.post(transfer, asked)["parts"] == []
    assert api.read(dataset, "x") == data
