"""Building a version through the API: proved, resumed, refused, cancelled."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.orm import Session

from nablahub.core import errors
from nablahub.datasets import manifests
from nablahub.datasets.errors import (
    BadPath,
    MissingObjects,
    NoSuchUpload,
    NoSuchVersion,
)
from nablahub.datasets.intake import PackReceiver, Received
from nablahub.datasets.packs import SMALL, build_head, pack_name
from nablahub.datasets.service import DatasetService
from nablahub.datasets.store import DatasetRow, UploadRow, VersionRow
from nablahub.datasets.sweeping import LEFTOVERS
from tests.support.service import RunningService, running
from tests.support.stores import collect, stored
from tests.support.waiting import until
from tests.unit.datasets.builders import entries, entry, read, write
from tests.unit.datasets.hub import EXTENSIONS, api_of, fresh


def test_an_upload_is_cancelled_with_all_it_brought(
    service: RunningService, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    dataset, hub = fresh(service, request), service.transport()
    upload = hub.post(f"/datasets/{dataset}/uploads", {})
    path = f"/datasets/{dataset}/uploads/{upload['version']}"
    row = entries({"lost.txt": b"never sent"})[0].line()
    with pytest.raises(MissingObjects, match="1 of the files") as caught:
        hub.request("POST", f"{path}/commit", content=row.encode())
    assert "lost.txt" in caught.value.errors[0].message
    with pytest.raises(NoSuchVersion):
        api_of(service).version(dataset)
    hub.delete(path)
    with pytest.raises(errors.NotFound):
        hub.get(path)


@pytest.mark.parametrize("path", ["../up", "/abs", "a\\b", "a/../b", "%2e%2e/x"])
def test_a_manifest_with_a_bad_path_is_refused(
    service: RunningService, request: pytest.FixtureRequest, path: str
) -> None:
    dataset, hub = api_of(service).ensure("bad-paths").id, service.transport()
    upload = hub.post(f"/datasets/{dataset}/uploads", {})
    row = entries({"x": b""})[0]._replace(path=path).line()
    with pytest.raises(BadPath, match="can't be in a dataset"):
        hub.request(
            "POST", f"/datasets/{dataset}/uploads/{upload['version']}/commit", content=row.encode()
        )


def test_a_commit_sent_twice_is_one_version(
    service: RunningService, request: pytest.FixtureRequest
) -> None:
    dataset, hub = fresh(service, request), service.transport()
    upload = hub.post(f"/datasets/{dataset}/uploads", {})
    path = f"/datasets/{dataset}/uploads/{upload['version']}/commit"
    answers = [hub.request("POST", path, content=b"") for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0]["id"] == upload["id"]
    assert len(list(api_of(service).versions(dataset))) == 1


def both_at_once(
    service: RunningService, monkeypatch: pytest.MonkeyPatch, ask: Callable[[], Any]
) -> list[Any]:
    """Send a commit again while the first one writes its manifest; return both answers."""
    committing = service.service.context.get(DatasetService).building.committing
    once, came, second, go_on = committing.once, [], threading.Event(), threading.Event()

    def counted(upload: UploadRow, work: Callable[[], VersionRow]) -> VersionRow:
        def slowly() -> VersionRow:
            assert go_on.wait(60)
            return work()

        came.append(upload.id)
        if len(came) == 2:
            second.set()
        return once(upload, slowly)

    monkeypatch.setattr(committing, "once", counted)
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(ask) for _ in range(2)]
        try:
            assert second.wait(60)
        finally:
            go_on.set()
        return [each.result() for each in asked]


def test_a_commit_sent_again_while_it_goes_on_is_one_version(
    service: RunningService,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api, dataset = api_of(service), fresh(service, request)
    files = {f"{number:04}": b"%d" % number for number in range(3000)}
    first = api.upload(dataset, write(tmp_path / "tree", files))
    made = service.transport().post(f"/datasets/{dataset}/uploads", {})["version"]
    text = b"".join(entry.line().encode() for entry in entries({**files, "new": files["0001"]}))
    path = f"/datasets/{dataset}/uploads/{made}/commit"

    def ask() -> Any:
        return service.transport().request("POST", path, content=text)

    one, other = both_at_once(service, monkeypatch, ask)
    assert one == other
    assert [version.id for version in api.versions(dataset)] == [f"{dataset}:{made}", first.id]
    assert api.verify(f"{dataset}:{made}").damaged == []
    api.download(f"{dataset}:{made}", tmp_path / "back")
    assert read(tmp_path / "back") == {**files, "new": files["0001"]}


def test_a_draft_committed_again_while_that_goes_on_is_one_version(
    service: RunningService,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api, dataset = api_of(service), fresh(service, request)
    files = {f"{number:04}": b"%d" % number for number in range(3000)}
    api.upload(dataset, write(tmp_path / "tree", files))
    draft = api.draft(dataset)
    draft.put("1500-new", b"new")
    path = f"/datasets/{dataset}/uploads/{draft.id.partition(':')[2]}/commit-changes"

    def ask() -> Any:
        return service.transport().post(path, {})

    one, other = both_at_once(service, monkeypatch, ask)
    assert one == other
    assert len(list(api.versions(dataset))) == 2
    api.download(dataset, tmp_path / "back")
    assert read(tmp_path / "back") == {**files, "1500-new": b"new"}


def test_an_upload_that_was_given_up_is_ended_while_the_hub_runs(
    service: RunningService, request: pytest.FixtureRequest
) -> None:
    dataset, hub = fresh(service, request), service.transport()
    paths = [
        f"/datasets/{dataset}/uploads/{hub.post(f'/datasets/{dataset}/uploads', {})['version']}"
        for _ in range(2)
    ]

    def grow_old(session: Session) -> None:
        old = session.get_one(UploadRow, f"{dataset}:{paths[0][-7:]}")
        old.touched_at -= timedelta(days=8)

    service.service.database.write_sync(grow_old)
    service.run(lambda: service.service.context.reconciler.wake_now(LEFTOVERS, ""))

    def ended() -> bool:
        with suppress(errors.NotFound):
            hub.get(paths[0])
            return False
        return True

    until(ended, "it is ended")
    assert hub.get(paths[1])["version"] == paths[1][-7:]


def test_bytes_that_lie_are_refused(
    service: RunningService, request: pytest.FixtureRequest
) -> None:
    dataset, hub = fresh(service, request), service.transport()
    upload = hub.post(f"/datasets/{dataset}/uploads", {})
    path = f"/datasets/{dataset}/uploads/{upload['version']}"
    before = stored(service)
    with pytest.raises(errors.Invalid, match="not a pack"):
        hub.request("PUT", f"{path}/packs/{'0' * 64}", content=b"x" * 1000)
    row = entries({"x": b"y" * 5000})[0]
    params = {"sha256": row.sha256, "size": 5000, "offset": 0}
    with pytest.raises(errors.Invalid, match="does not have the bytes"):
        hub.request("PUT", f"{path}/objects/{row.md5}", params=params, content=b"z" * 5000)
    with pytest.raises(errors.Invalid, match="More bytes"):
        hub.request("PUT", f"{path}/objects/{row.md5}", params=params, content=b"y" * 5001)
    assert stored(service) - before <= {p for p in stored(service) if "/parts/" in p}


def test_a_large_object_goes_on_where_it_stopped(
    service: RunningService, request: pytest.FixtureRequest
) -> None:
    dataset, hub = fresh(service, request), service.transport()
    data = bytes(range(256)) * 8000
    row = entries({"big": data})[0]
    first = hub.post(f"/datasets/{dataset}/uploads", {})["version"]
    second = hub.post(f"/datasets/{dataset}/uploads", {})["version"]

    def put(upload: str, offset: int, piece: bytes) -> dict[str, object]:
        params = {"sha256": row.sha256, "size": len(data), "offset": offset}
        path = f"/datasets/{dataset}/uploads/{upload}/objects/{row.md5}"
        return dict(hub.request("PUT", path, params=params, content=piece))

    assert put(first, 0, data[:700_000]) == {"arrived": 700_000, "complete": False}
    with pytest.raises(errors.Conflict, match="700000 bytes have arrived"):
        put(second, 0, data[:10])
    where = f"/datasets/{dataset}/uploads/{second}/objects/{row.md5}"
    with hub.stream("HEAD", where) as answer:
        assert answer.headers["X-Arrived"] == "700000"
    assert put(second, 700_000, data[700_000:]) == {"arrived": len(data), "complete": True}
    hub.request("POST", f"/datasets/{dataset}/uploads/{second}/commit", content=row.line().encode())
    assert api_of(service).read(dataset, "big") == data


def test_a_large_object_that_has_all_arrived_is_looked_at(
    service: RunningService, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    dataset, data = fresh(service, request), bytes(range(256)) * 8000
    row = entries({"big": data})[0]
    datasets = service.service.context.get(DatasetService)
    space = service.service.database.read_sync(lambda s: s.get_one(DatasetRow, dataset).space)
    # As a service leaves it that is killed between the last byte and the proof.
    left = datasets.parts(space).path(dataset, row.md5)
    left.parent.mkdir(parents=True)
    left.write_bytes(data)
    api_of(service).upload(dataset, write(tmp_path / "tree", {"big": data}))
    assert api_of(service).read(dataset, "big") == data


def test_a_small_object_sent_alone_is_packed_all_the_same(
    service: RunningService, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    dataset, hub = fresh(service, request), service.transport()
    row = entries({"tiny": b"tiny"})[0]
    before = stored(service)
    upload = (
        f"/datasets/{dataset}/uploads/{hub.post(f'/datasets/{dataset}/uploads', {})['version']}"
    )
    params = {"sha256": row.sha256, "size": 4, "offset": 0}
    hub.request("PUT", f"{upload}/objects/{row.md5}", params=params, content=b"tiny")
    hub.request("POST", f"{upload}/commit", content=row.line().encode())
    assert sorted(Path(p).parts[-3] for p in stored(service) - before) == ["manifests", "packs"]
    api_of(service).download(dataset, tmp_path / "back")
    assert read(tmp_path / "back") == {"tiny": b"tiny"}


def test_two_commits_at_once_are_two_versions(
    service: RunningService, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    dataset = fresh(service, request)
    trees = [
        write(tmp_path / str(n), {"own": b"%d" % n, "same": b"same", "big": b"s" * (SMALL + 1)})
        for n in range(6)
    ]
    done: list[tuple[int, str]] = []

    def commit(number: int) -> None:
        made = api_of(service).upload(dataset, trees[number])
        done.append((number, made.id))

    threads = [threading.Thread(target=commit, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    api = api_of(service)
    assert sorted(v.number for v in api.versions(dataset)) == [1, 2, 3, 4, 5, 6]
    for number, version in done:
        assert api.read(version, "own") == b"%d" % number
        assert api.read(version, "big") == b"s" * (SMALL + 1)
    assert len(done) == 6


def test_the_quota_names_usage_limit_and_way_out(tmp_path: Path) -> None:
    with running(tmp_path / "state", EXTENSIONS, dataset_quota_bytes=300_000) as service:
        api = api_of(service)
        dataset = api.create("full").id
        made = api.upload(dataset, write(tmp_path / "a", {"x": b"x" * 200_000}))
        before = stored(service)
        for size in (150_000, 2_000_000):
            more = write(tmp_path / f"b{size}", {"y": b"y" * size, "z": b"z"})
            with pytest.raises(
                errors.QuotaExceeded, match=r"hold 195\.[45] KiB.*quota of 293\.0 KiB"
            ) as found:
                api.upload(dataset, more)
            assert "delete" in found.value.hint.lower()
        collect(service, api.get(dataset).team_id)
        assert stored(service) == before
        assert [v.id for v in api.versions(dataset)] == [made.id]
        hub = service.transport()
        upload = hub.post(f"/datasets/{dataset}/uploads", {})["version"]
        raw = httpx.put(
            f"{service.url}/api/v1/datasets/{dataset}/uploads/{upload}/packs/{'0' * 64}",
            content=b"x" * 5_000_000, headers={"Authorization": "Bearer token-of-alice"},
        )  # fmt: skip
        assert (raw.status_code, raw.json()["code"]) == (413, "quota_exceeded")
        api.upload(dataset, write(tmp_path / "c", {"small": b"fits"}))


def test_what_dvc_calls_a_tree_of_very_many_files_is_found_out_later(
    service: RunningService,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api, dataset = api_of(service), fresh(service, request)
    tree = write(tmp_path / "tree", {f"{n}.txt": b"%d" % n for n in range(9)})
    at_once = api.upload(dataset, tree).dvc_md5
    monkeypatch.setattr(manifests, "DERIVED_AT_ONCE", 8)
    made = api.upload(dataset, tree, again=True)
    assert made.dvc_md5 is None
    until(lambda: api.version(made.id).dvc_md5, "the tree is derived")
    assert api.version(made.id).dvc_md5 == at_once


def test_a_dataset_deleted_while_a_pack_comes_leaves_nothing(
    service: RunningService, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, hub, name = api_of(service), service.transport(), fresh(service, request)
    team, before = api.get(name).team_id, stored(service)
    upload = hub.post(f"/datasets/{name}/uploads", {})["version"]
    finish = PackReceiver.finish

    def deleted_meanwhile(self: PackReceiver) -> Received:
        got = finish(self)
        api.delete(name)
        return got

    monkeypatch.setattr(PackReceiver, "finish", deleted_meanwhile)
    data = b"nobody's"
    row = entry("x", data)
    head = build_head([(bytes.fromhex(row.md5), bytes.fromhex(row.sha256), len(data))])
    path = f"/datasets/{name}/uploads/{upload}/packs/{pack_name(head)}"
    headers = {"Content-Type": "application/octet-stream"}
    with pytest.raises(NoSuchUpload):
        hub.request("PUT", path, content=head + data, headers=headers)
    collect(service, team)
    assert stored(service) == before
