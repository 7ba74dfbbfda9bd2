"""Folders of buckets in pods: what the pod's containers do, with the real service and a real S3."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from nablahub.core.errors import Conflict, Forbidden, NablaError, NotFound
from nablahub.core.s3 import S3Store
from nablahub.core.transport import Transport
from nablahub.jobs.pod_mounts import UPLOADS
from nablahub.jobs.runners import folder as files
from nablahub.jobs.runners.contract import TaskName
from nablahub.jobs.runners.kubernetes.inside import hub_folder, places
from nablahub.jobs.runners.kubernetes.inside.buckets import telling
from nablahub.storage.mounting import s3_folder
from nablahub.storage.mounting.errors import MountTooBig
from nablahub.storage.mounting.record import add_line
from tests.support.relay import relayed
from tests.support.s3 import SECRET
from tests.unit.jobs.pods import JOB, Pod


@pytest.mark.parametrize("direct", [True, False])
def test_what_is_there_is_copied_and_what_changed_is_brought_back(
    pod: Pod, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    relayed_reads: list[str] = []
    read = S3Store.read_as

    def counted(store: S3Store, key: str, *what: Any) -> bytes:
        relayed_reads.append(key)
        return read(store, key, *what)

    monkeypatch.setattr(S3Store, "read_as", counted)
    monkeypatch.setattr(s3_folder, "PAGE", 2)  # So that there are several of each.
    monkeypatch.setattr(hub_folder, "_LINKS", 2)
    big = os.urandom(9 << 20)
    pod.put(raw__kept=b"kept", raw__changed=b"old", raw__gone=b"gone", raw__deep__big=big)
    pod.s3.client().put_object(Bucket=pod.bucket, Key="raw/made by hand/", Body=b"")
    pod.put(raw__empty=b"", other=b"not seen")
    pod.storage.change(pod.storage.get("ours"), direct=direct)
    pod.mount(("raw", "raw", False))
    data = pod.stage()
    found = {str(p.relative_to(data)): p.read_bytes() for p in data.rglob("*") if p.is_file()}
    assert found == {
        "kept": b"kept", "changed": b"old", "gone": b"gone", "deep/big": big, "empty": b""
    }  # fmt: skip
    assert f"Copied s3://{pod.bucket}/raw: 5 files, 9.0 MiB." in pod.said
    assert bool(relayed_reads) is not direct
    # From here on it is known that the command may change something.
    assert "was not written back" in str(pod.lost())
    before = pod.s3.client().head_object(Bucket=pod.bucket, Key="raw/kept")["LastModified"]
    os.utime(data / "kept")
    (data / "changed").write_bytes(b"new")
    (data / "gone").unlink()
    (data / "deep" / "big").write_bytes(big * 2)
    (data / "a").mkdir()
    (data / "a" / "b c").write_bytes(b"made")
    assert pod.bring() == {"words": "", "files": {}}
    assert (data / "made by hand").is_dir()
    assert pod.s3.keys(pod.bucket) - {"raw/made by hand/"} == {
        "raw/kept", "raw/changed", "raw/deep/big", "raw/a/b c", "raw/empty", "other"
    }  # fmt: skip
    assert (pod.get("raw/changed"), pod.get("raw/deep/big")) == (b"new", big * 2)
    after = pod.s3.client().head_object(Bucket=pod.bucket, Key="raw/kept")["LastModified"]
    assert before == after
    # As after a kill between what was done and the note of it.
    (pod.root / "0" / "written").unlink()
    assert pod.bring() == {"words": "", "files": {}}
    pod.hub.put(f"/jobs/{JOB}/task/buckets", {"stage": "over", "words": ""})
    assert pod.lost() is None


def test_what_others_changed_meanwhile_stays_as_they_made_it(pod: Pod) -> None:
    pod.put(raw__mine=b"1", raw__theirs=b"1", raw__deleted=b"1", raw__removed=b"1")
    pod.mount(("raw", "raw", False))
    data = pod.stage()
    for name in ("mine", "theirs", "deleted", "new"):
        (data / name).write_bytes(b"2")
    (data / "removed").unlink()
    (data / "link").symlink_to("mine")
    pod.put(raw__theirs=b"3", raw__new=b"3", raw__removed=b"3")
    pod.s3.client().delete_object(Bucket=pod.bucket, Key="raw/deleted")
    left = pod.bring()
    assert "4 files were not written back to s3://" in left["words"]
    assert "theirs: the bucket has another one since then" in left["words"]
    assert "deleted: it was deleted in the bucket since then" in left["words"]
    assert "removed: it was to be deleted, and the bucket has another one" in left["words"]
    kept = {name: Path(file).read_bytes() for name, file in left["files"].items()}
    assert kept == {"0/theirs": b"2", "0/deleted": b"2", "0/new": b"2"}
    assert pod.get("raw/mine") == b"2"
    assert pod.get("raw/theirs") == pod.get("raw/new") == pod.get("raw/removed") == b"3"
    assert any("'link'" in words for words in pod.said)


def test_a_pod_may_do_no_more_than_its_job_says(pod: Pod) -> None:
    pod.put(raw__a=b"1", other=b"1")
    pod.mount(("raw", "raw", True))
    pod.stage()
    assert pod.lost() is None  # Nothing can be changed, so nothing can be lost.
    place = f"/jobs/{JOB}/task/buckets/inputs.raw"
    asked: dict[str, Any] = {"path": "a", "size": 1, "etag": "x"}

    def write(**fields: Any) -> Any:
        params = {**asked, **fields}
        return pod.hub.request("PUT", f"{place}/content", params=params, content=b"2")

    with pytest.raises(Forbidden, match=r"/inputs/raw is mounted read-only"):
        write()
    with pytest.raises(Forbidden, match="read-only"):
        pod.hub.request("DELETE", f"{place}/content", params={"path": "a", "known": "x"})
    read = {"path": "../other", "start": 0, "length": 1, "etag": "x"}
    with pytest.raises(NablaError, match="cannot be a file"):
        pod.hub.request("GET", f"{place}/content", params=read)
    with pytest.raises(NablaError, match="cannot be a file"):
        pod.hub.post(f"{place}/links", {"paths": ["a", "../other"]})
    with pytest.raises(NotFound):
        pod.hub.get(f"/jobs/{JOB}/task/buckets/inputs.nonsuch")
    with pytest.raises(Forbidden):  # Nor may the one who submitted it.
        pod.transport.get(place)
    assert SECRET not in pod.hub.post(f"{place}/links", {"paths": ["a"]})["urls"][0]
    assert pod.get("raw/a") == b"1"


def test_nothing_is_written_once_the_job_has_ended(pod: Pod) -> None:
    pod.put(raw__a=b"1")
    pod.mount(("raw", "raw", False))
    data = pod.stage()
    (data / "a").write_bytes(b"2")
    files.write(pod.service.state.jobs / JOB, files.STATUS, {"verdict": "lost"})
    left = pod.bring()
    assert f"a: Job {JOB} has ended." in left["words"]
    assert pod.get("raw/a") == b"1"
    with pytest.raises(Conflict):
        pod.hub.request(
            "DELETE", f"/jobs/{JOB}/task/buckets/inputs.raw/content",
            params={"path": "a", "known": "x"},
        )  # fmt: skip


def test_a_file_that_comes_in_half_is_not_written(pod: Pod) -> None:
    pod.put(raw__a=b"1")
    pod.mount(("raw", "raw", False))
    pod.stage()
    known = pod.s3.client().head_object(Bucket=pod.bucket, Key="raw/a")["ETag"].strip('"')
    params = {"path": "a", "size": 100, "etag": "x", "known": known}
    place = f"{pod.service.url}/api/v1/jobs/{JOB}/task/buckets/inputs.raw/content"
    headers = {"Authorization": f"Bearer {pod.token}"}
    answer = httpx.put(place, params=params, headers=headers, content=b"x" * 50)
    assert "changed while it was being written back" in answer.text

    def broken() -> Iterator[bytes]:
        yield b"x" * 50
        raise OSError("killed")

    with pytest.raises(OSError, match="killed"):
        httpx.put(place, params=params, headers=headers, content=broken())
    assert pod.get("raw/a") == b"1"
    # Of a large one that the service was killed with, nothing is left when the job has ended.
    params["size"] = 20 << 20
    answer = httpx.put(place, params=params, headers=headers, content=bytes(9 << 20))
    assert answer.is_error
    assert (pod.service.state.jobs / JOB / UPLOADS).exists()
    key = {"Bucket": pod.bucket, "Key": "raw/a"}
    upload = pod.s3.client().create_multipart_upload(**key)["UploadId"]
    row = {"path": "a", "folder": f"{pod.storage.get('ours').id}/raw", "upload": upload}
    add_line(pod.service.state.jobs / JOB / UPLOADS, row)
    assert "was not written back" in str(pod.lost())
    assert pod.s3.multiparts(pod.bucket) == set()
    assert pod.get("raw/a") == b"1"


def test_what_does_not_fit_is_refused_before_anything_is_copied(pod: Pod) -> None:
    pod.put(raw__a=b"x" * 100_000)
    pod.mount(("raw", "raw", True))
    pod.task["scratch"] = 65536
    words = r"holds 97\.7 KiB, and its pod has room for [1-6]\d\.0 KiB"
    with pytest.raises(MountTooBig, match=words):
        pod.stage()
    assert list((pod.root / "0" / "data").iterdir()) == []


def test_where_pods_do_not_reach_the_bucket_its_bytes_come_by_the_service(pod: Pod) -> None:
    pod.put(raw__a=b"1", raw__b=b"2")
    port = urlsplit(pod.s3.endpoint).port
    assert port is not None
    pod.mount(("raw", "raw", True))
    with relayed("127.0.0.2", port):
        change = {"endpoint": f"http://127.0.0.2:{port}"}
        pod.storage.change(pod.storage.get("ours"), **change)
        links = pod.hub.post(f"/jobs/{JOB}/task/buckets/inputs.raw/links", {"paths": ["a"]})
        assert "127.0.0.2" in links["urls"][0]
    pod.storage.change(pod.storage.get("ours"), endpoint=pod.s3.endpoint)
    # The links lead to where nobody answers any more; the service knows the way again.
    pod.pods._open.clear()
    url = links["urls"][0]
    real = pod.hub.post

    def stale(path: str, body: Any = None, **more: Any) -> Any:
        return {"urls": [url] * len(body["paths"])} if "links" in path else real(path, body, **more)

    pod.hub.post = stale  # type: ignore[method-assign]  # What a network policy makes of them.
    data = pod.stage()
    assert sorted(p.read_bytes() for p in data.iterdir()) == [b"1", b"2"]


def test_a_service_that_is_away_meanwhile_is_waited_for(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.put(**{f"raw__{n}": b"1" for n in range(3)})
    pod.storage.change(pod.storage.get("ours"), direct=False)
    pod.mount(("raw", "raw", False))
    port, asked = pod.service.port, threading.Event()
    pod.hub.close()
    pod.hub = Transport(pod.service.url.replace("127.0.0.1", "127.0.0.3"), pod.token, tries=2)
    read = S3Store.read_as

    def cut(store: S3Store, *what: Any) -> bytes:
        asked.set()
        return read(store, *what)

    monkeypatch.setattr(S3Store, "read_as", cut)
    staging = threading.Thread(target=pod.stage)
    with relayed("127.0.0.3", port):
        staging.start()
        assert asked.wait(60)
    assert staging.is_alive()
    with relayed("127.0.0.3", port):
        staging.join(60)
    assert not staging.is_alive()
    assert [p.read_bytes() for p in (pod.root / "0" / "data").iterdir()] == [b"1"] * 3


def test_the_log_tells_how_far_it_is_before_the_command_begins(
    pod: Pod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.mount(("raw", "raw", True))
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setattr(places, "SHARED", shared)
    monkeypatch.setattr(places, "LOG", shared / "log")
    with telling(pod.task, places.LOG) as tell:
        tell("Copying.")
    log = (pod.service.state.jobs / JOB / files.LOG).read_text()
    assert log.endswith(" Copying.\n")
    assert log == (shared / "log").read_text()
    # What sends the log from its beginning sends nothing twice.
    with telling(pod.task, places.LOG) as tell:
        tell("Copied.")
    assert (pod.service.state.jobs / JOB / files.LOG).read_text().count("Copying.") == 1
    assert pod.receiving.heard(TaskName(JOB)) > 0
