"""Folders of a bucket in jobs: by FUSE where this machine has it, and by a copy everywhere."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from nablahub.core.errors import Invalid, NablaError
from nablahub.core.s3 import S3Store
from nablahub.jobs.api import JobsAPI
from nablahub.jobs.mounting import JobMounts
from nablahub.jobs.runners import folder as files
from nablahub.jobs.runners.process.shutdown import end_all
from nablahub.jobs.runners.remove import remove_tree
from nablahub.jobs.service import JobService
from nablahub.jobs.types import Job, JobSpec
from nablahub.projects.api import ProjectsAPI
from nablahub.storage.api import StorageAPI
from nablahub.storage.mounting import fuse
from nablahub.storage.mounting.mounts import Mounts, unmount_all
from nablahub.storage.mounting.record import Record
from nablahub.storage.mounting.refs import BucketFolder
from nablahub.storage.service import StorageService
from nablahub.storage.store import StorageProviderRow
from tests.support import waiting
from tests.support.buckets import WithBucket
from tests.support.relay import relayed
from tests.support.s3 import SECRET, SeaweedFS
from tests.support.service import RunningService
from tests.unit.jobs.conftest import EXTENSIONS, Jobs, until

#: Without FUSE the same suite holds for the copy, which every machine has.
WAYS = ("copy", "fuse") if fuse.missing() is None else ("copy",)


class Place(WithBucket):
    """Jobs of alice, and a bucket of hers under the name `ours`."""

    def __init__(self, root: Path, environments: Path, s3: SeaweedFS, by: str) -> None:
        self.root, self.s3, self.by = root, s3, by
        self._settings: dict[str, Any] = {
            "environments_dir": environments, "allow_private_addresses": True, "bucket_mounts": by
        }  # fmt: skip
        self.begin()
        self.project = ProjectsAPI(self.service.transport()).create("work").id
        self.bucket = s3.bucket()
        self.storage = StorageAPI(self.service.transport())
        self.provide(self.storage)

    def begin(self, **settings: Any) -> None:
        self._settings |= settings
        self.service = RunningService(self.root, EXTENSIONS, **self._settings).start()

    @property
    def jobs(self) -> Jobs:
        return Jobs(self.service, self.project)

    def run(self, script: str, *mounts: dict[str, Any]) -> Job:
        return self.jobs.shell(script, inputs=list(mounts))

    def log(self, job: Job) -> str:
        return self.jobs.api.log(job.id)

    def is_tidy(self) -> None:
        """Nothing is left of mounts, a moment after the end of a job is stored."""
        waiting.until(lambda: not self.mounts(), "mounts are taken away")

    def mounts(self) -> list[str]:
        """What is left of mounts on this machine."""
        table = Path("/proc/self/mountinfo").read_text()
        left = [line.split(" ")[4] for line in table.splitlines() if str(self.root) in line]
        return left + [str(p) for p in self.root.glob("mounts/*")]


def bucket(name: str, ref: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "kind": "bucket", "ref": ref, **fields}


def mounts_of(place: Place) -> Mounts:
    made = place.service.service.context.get(JobService).mounts
    assert isinstance(made, JobMounts)
    return made._mounts


@pytest.fixture(params=WAYS)
def place(
    request: pytest.FixtureRequest, tmp_path: Path, environments: Path, s3: SeaweedFS
) -> Iterator[Place]:
    made = Place(tmp_path / "state of it", environments, s3, request.param)
    yield made
    made.service.stop()
    end_all(made.service.state)
    assert not [p for p in made.mounts() if p.endswith("/data")]
    remove_tree(made.root / "jobs")


@pytest.fixture
def copied(tmp_path: Path, environments: Path, s3: SeaweedFS) -> Iterator[Place]:
    made = Place(tmp_path / "state", environments, s3, "copy")
    yield made
    made.service.stop()
    end_all(made.service.state)


def test_a_job_reads_a_folder_and_nothing_else_of_it(place: Place) -> None:
    place.put(raw__a=b"one\n", raw__deep__b=b"two\n", other=b"not seen", rawer=b"not seen")
    job = place.run(
        "cd /inputs/raw; find . -type f | sort; cat a deep/b; cat /datasets/all/other; "
        "touch new && exit 9; env; cat /proc/*/environ; ls /; true",
        bucket("raw", "ours/raw"),
        bucket("all", "ours", at="datasets"),
    )
    said = place.log(job)
    assert (job.state, job.message) == ("Succeeded", "")
    assert "./a\n./deep/b\none\ntwo\nnot seen" in said
    assert "Read-only file system" in said
    assert SECRET not in said
    assert place.s3.keys(place.bucket) == {"raw/a", "raw/deep/b", "other", "rawer"}
    place.is_tidy()
    assert job.inputs[0].ref.endswith("/raw")
    assert ("Copied" if place.by == "copy" else "Mounted") in said


def test_what_a_job_writes_is_in_the_bucket_when_it_has_ended(place: Place) -> None:
    place.put(raw__kept=b"kept", raw__changed=b"old", raw__gone=b"gone", raw__big=b"x")
    before = place.s3.client().head_object(Bucket=place.bucket, Key="raw/kept")["LastModified"]
    job = place.run(
        "cd /inputs/raw; echo -n new > changed; rm gone; mkdir -p a/b; echo -n 1 > a/b/made; "
        ": > empty; head -c 9000000 /dev/zero > big; exit 3",
        bucket("raw", "ours/raw", read_only=False),
    )
    # Whatever became of the command: what it wrote is not lost.
    assert (job.state, job.exit_code) == ("Failed", 3)
    assert place.s3.keys(place.bucket) == {
        "raw/kept", "raw/changed", "raw/a/b/made", "raw/empty", "raw/big"
    }  # fmt: skip
    assert (place.get("raw/changed"), place.get("raw/a/b/made")) == (b"new", b"1")
    assert (place.get("raw/empty"), place.get("raw/big")) == (b"", bytes(9_000_000))
    after = place.s3.client().head_object(Bucket=place.bucket, Key="raw/kept")["LastModified"]
    assert before == after
    place.is_tidy()


def test_a_mount_outlives_the_service_and_is_taken_away_in_its_next_life(place: Place) -> None:
    place.put(raw__a=b"one")
    job = place.jobs.submit(
        "sh", "-c",
        "echo ready; until [ -e /storage/go ]; do sleep 0.02; done; cat /inputs/raw/a; "
        "echo late > /inputs/raw/late",
        inputs=[bucket("raw", "ours/raw", read_only=False)],
    )  # fmt: skip
    until(place.jobs, job.id, lambda found: found["state"] == "Running")
    place.service.stop()
    team = next((place.root / "storage").iterdir())
    (team / "go").touch()
    files.wait_lock(place.root / "jobs" / job.id)  # It ends while nobody looks after it.
    place.begin()
    done = place.jobs.api.wait(job.id)
    assert (done.state, done.message) == ("Succeeded", "")
    assert place.get("raw/late") == b"late\n"
    place.is_tidy()


def test_mounts_of_jobs_that_are_gone_are_swept_up(place: Place) -> None:
    place.put(raw__a=b"one")
    mounts = mounts_of(place)
    provider = place.storage.get("ours").id
    mounts.make("jgone", "inputs.raw", BucketFolder(provider, "raw"), read_only=False, tell=print)
    shown = mounts.path("jgone", "inputs.raw")
    assert (shown / "a").read_text() == "one"
    if place.by == "fuse":  # As after a kill of everything: the mount is there and dead.
        keeper = _keeper(shown)
        os.kill(keeper, signal.SIGKILL)
        with pytest.raises(OSError, match="connect"):
            list(shown.iterdir())
    place.service.stop()
    place.begin()
    place.service.stop()
    place.is_tidy()
    assert place.get("raw/a") == b"one"
    place.begin()


def _keeper(shown: Path) -> int:
    """The process id of what serves a mount."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if words[1:2] == [b"mount"] and str(shown).encode() in words:
                    return int(entry.name)
    raise AssertionError("nothing serves it")


def test_a_wrong_key_is_said_before_the_job_begins(place: Place) -> None:
    place.put(raw__a=b"one")
    database = place.service.service.context.database
    storage = place.service.service.context.get(StorageService)

    def spoil(session: Any) -> None:
        row = session.query(StorageProviderRow).one()
        row.secret = storage.vault.encrypt("wrong")

    database.write_sync(spoil)
    job = place.run("true", bucket("raw", "ours/raw"))
    assert (job.state, job.reason) == ("Error", "mount")
    assert "secret key" in job.message
    place.is_tidy()


def test_what_does_not_reach_the_bucket_fails_the_job_and_is_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuse, "STUCK_SECONDS", 1)
    monkeypatch.setattr(fuse, "END_SECONDS", 1)
    place.put(raw__a=b"one")
    port = urlsplit(place.s3.endpoint).port
    assert port is not None
    with relayed("127.0.0.2", port):
        place.storage.change(place.storage.get("ours"), endpoint=f"http://127.0.0.2:{port}")
        job = place.jobs.submit(
            "sh", "-c",
            "ls /inputs/raw; touch /storage/ready; until [ -e /storage/go ]; do sleep 0.02; done; "
            "echo -n 2 > /inputs/raw/new",
            inputs=[bucket("raw", "ours/raw", read_only=False)],
        )  # fmt: skip
        found = waiting.until(lambda: list(place.root.glob("storage/*/ready")), "it reads")
    # From here on nothing reaches the store.
    found[0].with_name("go").touch()
    done = place.jobs.api.wait(job.id)
    assert (done.state, done.reason, done.exit_code) == ("Failed", "mount", 0)
    assert "They are kept among the job's artifacts" in done.message
    kept = place.root / "jobs" / job.id / "artifacts" / "not-written-back" / "0" / "new"
    assert kept.read_text() == "2"
    assert place.s3.keys(place.bucket) == {"raw/a"}
    place.is_tidy()


def test_a_write_back_that_was_cut_off_goes_on(copied: Place) -> None:
    copied.put(raw__a=b"1", raw__gone=b"1")
    mounts = mounts_of(copied)
    wanted = BucketFolder(copied.storage.get("ours").id, "raw")
    mounts.make("jone", "inputs.raw", wanted, read_only=False, tell=print)
    shown = mounts.path("jone", "inputs.raw")
    (shown / "a").write_bytes(b"2")
    (shown / "gone").unlink()
    (shown / "b").write_bytes(b"x" * (9 << 20))
    assert mounts.save("jone") == []
    # As after a kill between what was done in the bucket and the note of it, and in the midst.
    upload = copied.s3.client().create_multipart_upload(Bucket=copied.bucket, Key="raw/b")
    row = {"path": "b", "upload": upload["UploadId"]}
    (shown.parent / "uploads").write_text(f"{json.dumps(row)}\n")
    record = Record.load(shown.parent)
    assert record is not None
    record.at(shown.parent, "ready")
    (shown.parent / "written").write_text('{"path": "a", ')
    assert mounts.save("jone") == []
    assert (copied.get("raw/a"), copied.get("raw/b")) == (b"2", b"x" * (9 << 20))
    assert copied.s3.keys(copied.bucket) == {"raw/a", "raw/b"}
    assert copied.s3.multiparts(copied.bucket) == set()
    mounts.release("jone")
    copied.is_tidy()


def test_what_others_changed_meanwhile_is_not_overwritten(copied: Place) -> None:
    copied.put(raw__mine=b"1", raw__theirs=b"1", raw__deleted=b"1")
    job = copied.jobs.submit(
        "sh", "-c",
        "echo ready; until [ -e /storage/go ]; do sleep 0.02; done; cd /inputs/raw; "
        "for f in mine theirs deleted new; do echo -n 2 > $f; done; ln -s mine link",
        inputs=[bucket("raw", "ours/raw", read_only=False)],
    )  # fmt: skip
    until(copied.jobs, job.id, lambda found: found["state"] == "Running")
    copied.put(raw__theirs=b"3", raw__new=b"3")
    copied.s3.client().delete_object(Bucket=copied.bucket, Key="raw/deleted")
    team = next((copied.root / "storage").iterdir())
    (team / "go").touch()
    done = copied.jobs.api.wait(job.id)
    assert (done.state, done.reason) == ("Failed", "mount")
    assert "3 files were not written back to s3://" in done.message
    assert "theirs: the bucket has another one since then" in done.message
    assert copied.get("raw/mine") == b"2"
    assert copied.get("raw/theirs") == copied.get("raw/new") == b"3"
    kept = {a.path for a in copied.jobs.api.artifacts(done.id)}
    assert kept == {f"not-written-back/0/{name}" for name in ("theirs", "deleted", "new")}
    assert "'link'" in copied.log(done)
    copied.is_tidy()


def test_a_copy_that_does_not_fit_is_refused_in_words(copied: Place) -> None:
    copied.put(raw__a=b"x" * 5000)
    copied.service.stop()
    copied.begin(min_free_bytes=1 << 60)
    job = copied.run("true", bucket("raw", "ours/raw"))
    assert (job.state, job.reason) == ("Error", "mount")
    assert "holds 4.9 KiB, and this machine has room for 0 bytes" in job.message
    copied.is_tidy()


def test_what_cannot_be_files_is_left_out_and_told(copied: Place) -> None:
    put = copied.s3.client().put_object
    for key in ("raw/a", "raw/folder/", "raw/" + "n" * 200 + "/ü b.txt"):
        put(Bucket=copied.bucket, Key=key, Body=b"")
    job = copied.run("cd /inputs/raw; find . | sort", bucket("raw", "ours/raw"))
    said = copied.log(job)
    assert job.state == "Succeeded"
    assert "./a\n./folder\n" in said
    assert "ü b.txt" in said


def test_a_copy_is_cancelled_while_it_is_made(
    copied: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied.put(raw__a=b"1", raw__b=b"2")
    asked, goes_on = threading.Event(), threading.Event()
    read = S3Store.read_as

    def slow(store: S3Store, *what: Any) -> bytes:
        asked.set()
        assert goes_on.wait(60)
        return read(store, *what)

    monkeypatch.setattr(S3Store, "read_as", slow)
    job = copied.jobs.submit("true", inputs=[bucket("raw", "ours/raw")])
    assert asked.wait(60)
    assert copied.jobs.api.get(job.id).state == "Pending"
    copied.jobs.api.cancel(job.id)
    assert copied.jobs.api.wait(job.id).state == "Canceled"
    goes_on.set()
    copied.is_tidy()


def test_what_is_wrong_is_said_when_it_is_submitted(copied: Place) -> None:
    with pytest.raises(NablaError, match="no storage provider 'nonsuch'"):
        copied.run("true", bucket("raw", "nonsuch/raw"))
    with pytest.raises(Invalid, match="cannot be a folder"):
        copied.run("true", bucket("raw", "ours/../x"))
    with pytest.raises(ValueError, match="only a bucket may be writable"):
        copied.run("true", {"name": "a", "kind": "string", "ref": "x", "read_only": False})
    bob = copied.service.transport("bob")
    project = ProjectsAPI(bob).create("his").id
    spec = {"project_id": project, "command": ["true"], "inputs": [bucket("x", "ours")]}
    with pytest.raises(NablaError, match="no storage provider 'ours'"):
        JobsAPI(bob).submit(JobSpec.model_validate(spec))


@pytest.mark.skipif(fuse.missing() is not None, reason=str(fuse.missing()))
def test_a_guarded_mount_reaches_no_private_address(tmp_path: Path, s3: SeaweedFS) -> None:
    name = s3.bucket()
    s3.client().put_object(Bucket=name, Key="a", Body=b"1")
    # Loopback addresses too, which Go's HTTP client passes its usual proxies over for.
    for guarded in (True, False):
        folder = tmp_path / str(guarded)
        fuse.mount(folder, s3.config(name), "", read_only=True, guarded=guarded)
        try:
            found = [path.name for path in (folder / "data").iterdir()]
        except OSError:
            found = []
        finally:
            fuse.unmount(folder)
        assert found == ([] if guarded else ["a"])
    assert "not a public address" in (tmp_path / "True" / "log").read_text()


def test_a_record_that_is_torn_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "mount.json").write_text('{"provider": ')
    assert Record.load(tmp_path) is None
    unmount_all(tmp_path)
