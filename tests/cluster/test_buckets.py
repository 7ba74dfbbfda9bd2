"""Folders of a real S3's buckets in the pods of the real service's jobs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nablahub.core.errors import Invalid
from nablahub.core.extension import discover
from nablahub.jobs.runners.kubernetes.api import Api
from nablahub.jobs.runners.kubernetes.names import TASK, selector
from nablahub.jobs.types import Job
from nablahub.storage.api import StorageAPI
from nablahub.storage.service import StorageService
from nablahub.storage.store import StorageProviderRow
from nablahub.workflows.api import WorkflowsAPI
from tests.cluster import stores
from tests.cluster.lives import BELOW, Life
from tests.cluster.target import Cluster
from tests.support.buckets import WithBucket
from tests.support.s3 import SECRET, SeaweedFS
from tests.support.waiting import until

EXTENSIONS = [one for one in discover() if one.name in (*BELOW, "workflows")]
FLOW = """
defaults: {resources: {instance-type: C3}}
inputs:
  raw: {type: bucket, with: {ref: ours/raw}}
jobs:
  one:
    uses: script@v1
    inputs:
      raw: workflow.inputs.raw
      out: {type: bucket, with: {ref: ours/results, readOnly: false}}
    with: {script: "cp /inputs/raw/word /inputs/out/copy"}
"""


class Place(Life, WithBucket):
    """Jobs whose pods mount folders of a bucket, `ours`."""

    def __init__(self, root: Path, cluster: Cluster, s3: SeaweedFS, **changes: Any) -> None:
        settings = {"allow_private_addresses": True}
        super().__init__(root, cluster, EXTENSIONS, settings, **changes)
        self.s3, self.bucket = s3, s3.bucket()
        self.storage = StorageAPI(self.service.transport())
        self.provide(self.storage)

    def writing(self, script: str) -> Job:
        """Submit a script that may write to `raw`."""
        return self.submit(script, inputs=[folder("raw", "ours/raw", read_only=False)])

    def said(self, job: Job, words: str) -> None:
        """Wait until a job's log has some words."""
        until(lambda: words in self.jobs.log(job.id), f"the log says {words!r}")

    def delete_pod(self, job: Job, grace_seconds: int | None) -> None:
        async def delete() -> None:
            api = Api(self.service.settings.kubernetes)
            await api.connect()
            try:
                pods, _ = await api.list("Pod", selector(self.hub_label))
                (name,) = (
                    pod["metadata"]["name"]
                    for pod in pods
                    if pod["metadata"]["annotations"][TASK] == job.id
                )
                await api.delete("Pod", name, grace_seconds=grace_seconds)
            finally:
                await api.close()

        asyncio.run(delete())


def folder(name: str, ref: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "kind": "bucket", "ref": ref, **fields}


@pytest.fixture
def place(tmp_path: Path, cluster: Cluster, s3: SeaweedFS) -> Iterator[Place]:
    made = Place(tmp_path / "state", cluster, s3)
    yield made
    made.service.stop()


def test_a_job_reads_a_folder_and_no_key(place: Place) -> None:
    place.put(raw__a=b"one\n", raw__deep__b=b"two\n", other=b"not seen\n", rawer=b"not seen")
    job = place.shell(
        "cd /inputs/raw; find . -type f | sort; cat a deep/b; cat /datasets/all/other; "
        "touch new; touch /datasets/all/new; ls /buckets; env; cat /proc/*/environ; "
        "cat /run/nablahub-task/*; grep -r Amz /run/nablahub; true",
        inputs=[folder("raw", "ours/raw"), folder("all", "ours", at="datasets")],
    )
    said = place.jobs.log(job.id)
    assert (job.state, job.message) == ("Succeeded", ""), said
    assert "./a\n./deep/b\none\ntwo\nnot seen\n" in said
    assert said.count("Read-only file system") == 2
    assert SECRET not in said
    assert "X-Amz-Signature" not in said
    assert "No such file or directory" in said  # /buckets
    assert f"Copied s3://{place.bucket}/raw: 2 files, 8 bytes." in said.splitlines()[2]
    assert place.s3.keys(place.bucket) == {"raw/a", "raw/deep/b", "other", "rawer"}


def test_what_a_job_wrote_is_in_the_bucket_whatever_became_of_it(place: Place) -> None:
    place.put(raw__kept=b"kept", raw__changed=b"old", raw__gone=b"gone", raw__big=b"x")
    before = place.s3.client().head_object(Bucket=place.bucket, Key="raw/kept")["LastModified"]
    job = place.writing(
        "cd /inputs/raw; printf new > changed; rm gone; mkdir -p a/b; printf 1 > a/b/made; "
        ": > empty; head -c 9000000 /dev/zero > big; echo its last words; exit 3"
    )
    job = place.jobs.wait(job.id)
    assert (job.state, job.exit_code) == ("Failed", 3), place.jobs.log(job.id)
    assert "its last words" in job.message
    assert place.s3.keys(place.bucket) == {
        "raw/kept", "raw/changed", "raw/a/b/made", "raw/empty", "raw/big"
    }  # fmt: skip
    assert (place.get("raw/changed"), place.get("raw/a/b/made")) == (b"new", b"1")
    assert (place.get("raw/empty"), place.get("raw/big")) == (b"", bytes(9_000_000))
    after = place.s3.client().head_object(Bucket=place.bucket, Key="raw/kept")["LastModified"]
    assert before == after
    assert "4 files (8.6 MiB) written, 1 deleted." in place.jobs.log(job.id)


@pytest.mark.slow
def test_what_a_cancelled_job_wrote_is_in_the_bucket(place: Place) -> None:
    place.put(raw__a=b"1")
    job = place.writing("printf 2 > /inputs/raw/a; echo ready; sleep 600")
    place.said(job, "ready")
    place.jobs.cancel(job.id)
    done = place.jobs.wait(job.id)
    assert (done.state, done.reason) == ("Canceled", "cancelled")
    assert place.get("raw/a") == b"2"


@pytest.mark.slow
def test_what_a_deleted_pod_wrote_is_in_the_bucket(place: Place) -> None:
    place.put(raw__a=b"1")
    job = place.writing("printf 2 > /inputs/raw/a; echo ready; sleep 600")
    place.said(job, "ready")
    place.delete_pod(job, None)  # As when its node is drained: with the pod's own grace.
    done = place.jobs.wait(job.id)
    assert (done.state, done.reason) == ("Error", "lost")
    assert "not written back" not in done.message
    assert place.get("raw/a") == b"2"


def test_a_pod_that_vanishes_loses_nothing_silently(place: Place) -> None:
    place.put(raw__a=b"1")
    job = place.writing("printf 2 > /inputs/raw/a; echo ready; sleep 600")
    place.said(job, "ready")
    place.delete_pod(job, 0)
    done = place.jobs.wait(job.id)
    assert (done.state, done.reason) == ("Error", "lost")
    assert "What it changed in /inputs/raw was not written back, or only in part" in done.message
    assert place.get("raw/a") in (b"1", b"2")


@pytest.mark.slow
def test_what_others_changed_meanwhile_is_not_overwritten(place: Place) -> None:
    place.put(raw__mine=b"1", raw__theirs=b"1", raw__deleted=b"1")
    job = place.writing(
        "echo ready; until [ -e /storage/go ]; do sleep 0.1; done; cd /inputs/raw; "
        "for f in mine theirs deleted new; do printf 2 > $f; done; echo 1 > /artifacts/own"
    )
    place.said(job, "ready")
    place.put(raw__theirs=b"3", raw__new=b"3")
    place.s3.client().delete_object(Bucket=place.bucket, Key="raw/deleted")
    place.shell("touch /storage/go")
    done = place.jobs.wait(job.id)
    assert (done.state, done.reason, done.exit_code) == ("Failed", "mount", 0), done.message
    assert "3 files were not written back to s3://" in done.message
    assert "theirs: the bucket has another one since then" in done.message
    assert "They are kept among the job's artifacts" in done.message
    assert (place.get("raw/mine"), place.get("raw/theirs")) == (b"2", b"3")
    kept = {f"not-written-back/0/{name}" for name in ("theirs", "deleted", "new")}
    assert {a.path for a in place.jobs.artifacts(job.id)} == {"own", *kept}


def test_what_cannot_be_mounted_is_said_in_words(place: Place, tmp_path: Path) -> None:
    place.put(raw__a=b"x" * 5000)
    storage = place.service.service.context.get(StorageService)

    def spoil(session: Any) -> None:
        row = session.query(StorageProviderRow).one()
        row.secret = storage.vault.encrypt("wrong")

    place.service.service.context.database.write_sync(spoil)
    job = place.jobs.wait(place.writing("true").id)
    assert (job.state, job.reason) == ("Error", "mount")
    assert "The secret key is not the one that belongs to the access key." in job.message
    with pytest.raises(Invalid, match="several nodes mounts buckets read-only"):
        place.submit("true", nodes=2, inputs=[folder("raw", "ours/raw", read_only=False)])


@pytest.mark.slow
def test_what_does_not_fit_is_refused_before_it_is_copied(
    tmp_path: Path, cluster: Cluster, s3: SeaweedFS
) -> None:
    made = Place(tmp_path / "small", cluster, s3, scratch_size="4Mi")
    try:
        made.put(raw__a=bytes(5 << 20))
        job = made.shell("true", inputs=[folder("raw", "ours/raw")])
        assert (job.state, job.reason) == ("Error", "mount"), job.message
        assert "holds 5.0 MiB, and its pod has room for 4.0 MiB." in job.message
    finally:
        made.service.stop()


@pytest.mark.slow
def test_two_nodes_read_and_a_step_of_a_workflow_writes(place: Place) -> None:
    place.put(raw__word=b"word\n")
    both = place.shell("cat /inputs/raw/word", nodes=2, inputs=[folder("raw", "ours/raw")])
    said = place.jobs.log(both.id)
    assert both.state == "Succeeded", said
    assert all(f"[node {n}] word\n" in said for n in (0, 1))
    workflows = WorkflowsAPI(place.service.transport())
    flow = workflows.create(place.project, FLOW, name="flow")
    run = workflows.wait(workflows.start(flow.id))
    assert run.state == "Succeeded", run.message
    assert place.get("results/copy") == b"word\n"


def test_a_service_that_comes_back_finds_mounts_as_they_were(place: Place) -> None:
    place.put(**{f"raw__{n}": bytes(1 << 20) for n in range(32)})
    job = place.writing("cd /inputs/raw; echo ready; sleep 2; for f in *; do printf 2 > $f; done")
    place.said(job, "Looking what is in")
    place.service.stop()
    place.begin()
    place.said(job, "ready")
    until(lambda: place.get("raw/0") == b"2", "it writes back", pause=0.02)
    place.service.stop()
    place.begin()
    done = place.jobs.wait(job.id)
    assert (done.state, done.message) == ("Succeeded", ""), place.jobs.log(job.id)
    assert {place.get(f"raw/{n}") for n in range(32)} == {b"2"}


@pytest.mark.slow
def test_a_bucket_that_is_slow_is_waited_for(tmp_path: Path, cluster: Cluster) -> None:
    with stores.reachable(cluster) as own:
        made = Place(tmp_path / "slow", cluster, own, stuck_seconds=15)
        try:
            made.put(raw__a=b"1")
            job = made.writing("echo ready; until [ -e /storage/go ]; do sleep 0.1; done; "
                               "printf 2 > /inputs/raw/a")  # fmt: skip
            made.said(job, "ready")
            until(lambda: made.jobs.get(job.id).state == "Running", "it is known to run")
            with own.frozen():
                made.shell("touch /storage/go")
                time.sleep(40)  # Longer than what does not end is left alone.
                assert made.jobs.get(job.id).state == "Running"
            assert made.jobs.wait(job.id).state == "Succeeded"
            assert made.get("raw/a") == b"2"
        finally:
            made.service.stop()
