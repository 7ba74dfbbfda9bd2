"""Jobs of the real service on the real cluster: data comes in, data goes out."""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes_asyncio import client

from nablahub.core.environments import UnknownEnvironment
from nablahub.core.errors import Unavailable
from nablahub.jobs.runners.contract import TaskName
from nablahub.jobs.runners.kubernetes.names import object_name
from nablahub.jobs.service import JobService
from nablahub.jobs.steps import NOT_ITS_TURN
from tests.cluster.conftest import namespace
from tests.cluster.lives import Life
from tests.cluster.target import Cluster
from tests.support.waiting import until


@pytest.fixture
def life(tmp_path: Path, cluster: Cluster) -> Iterator[Life]:
    made = Life(tmp_path / "state", cluster)
    yield made
    made.service.stop()


def test_a_version_comes_in_and_a_version_goes_out(life: Life, tmp_path: Path) -> None:
    (tmp_path / "given" / "deep").mkdir(parents=True)
    (tmp_path / "given" / "deep" / "word").write_text("from a dataset")
    hub = life.service.hub()
    hub.datasets.create("given", project=life.project)
    version = hub.datasets.upload("given", tmp_path / "given")
    job = life.shell(
        "cat /inputs/d/deep/word; touch /inputs/d/x 2>/dev/null; cp -r /inputs/d/deep "
        "/outputs/made; printf said > /outputs/word; echo 1 > /artifacts/a; echo 1 > /storage/s; "
        "python -c 'import numpy; print(numpy.ones(2).sum())'",
        inputs=[{"name": "d", "kind": "dataset", "ref": version.id}],
        outputs=[
            {"name": "made", "kind": "dataset", "ref": "made"},
            {"name": "word", "kind": "string"},
        ],
    )
    log = life.jobs.log(job.id)
    assert (job.state, log) == ("Succeeded", "from a dataset2.0\n"), job.message
    assert job.outputs["word"].value == "said"
    made = job.outputs["made"].ref
    assert made is not None
    assert hub.datasets.read(made, "deep/word") == b"from a dataset"
    assert [a.path for a in life.jobs.artifacts(job.id)] == ["a"]
    again = life.shell("cat /storage/s")
    assert life.jobs.log(again.id) == "1\n"


def test_what_is_no_file_is_named_and_the_rest_is_kept(life: Life) -> None:
    job = life.shell(
        "mkfifo /artifacts/pipe; echo 1 > /artifacts/a; echo 2 > /artifacts/closed; "
        "echo 3 > /outputs/made/file; chmod 000 /artifacts/closed /outputs/made/file; "
        "python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('/artifacts/s')\"; "
        "python3 -c \"import os\nos.chdir('/artifacts')\nfor _ in range(40):\n"
        " os.mkdir('d' * 200); os.chdir('d' * 200)\nopen('f', 'w').close()\"",
        outputs=[{"name": "made", "kind": "dataset", "ref": "made"}],
    )
    assert job.state == "Succeeded", job.message
    for words in ("pipe (a named pipe)", "s (a socket)", "(too deep: its path is too long)"):
        assert words in job.message
    assert {a.path: a.size for a in life.jobs.artifacts(job.id)} == {"a": 2, "closed": 2}
    made = job.outputs["made"].ref
    assert made is not None
    assert life.service.hub().datasets.read(made, "file") == b"3\n"


def test_an_output_that_leads_out_is_refused_as_on_one_machine(life: Life) -> None:
    job = life.shell(
        "rm -r /outputs/made; ln -s /etc /outputs/made; echo 1 > /artifacts/a",
        outputs=[{"name": "made", "kind": "dataset", "ref": "made"}],
    )
    assert (job.state, job.reason) == ("Failed", "output")
    said = "Its output could not be kept: '/outputs/made/etc' can't be kept: it is a link to"
    assert said in job.message
    assert [a.path for a in life.jobs.artifacts(job.id)] == ["a"]


def test_more_than_the_hub_has_room_for_ends_in_words(cluster: Cluster, tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    life = Life(tmp_path / "state", cluster, settings={"min_free_bytes": free - (512 << 20)})
    try:
        job = life.shell("truncate -s 1T /artifacts/sparse")
        assert (job.state, job.reason) == ("Error", "lost")
        assert re.search("The disk of the hub has .* left for data, and 1.0 TiB", job.message)
        assert life.jobs.artifacts(job.id) == ()
    finally:
        life.service.stop()


def test_a_cancel_does_not_wait_for_what_never_arrives(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiving = life.service.service.context.get(JobService).ground.receiving
    assert receiving is not None
    asked = threading.Event()

    async def away(name: TaskName, *_: object) -> None:
        receiving.hear(name)
        asked.set()
        raise Unavailable("Not now.")

    monkeypatch.setattr(receiving, "tree", away)
    job = life.submit("echo 1 > /artifacts/a")
    assert asked.wait(60)
    life.jobs.cancel(job.id)
    done = life.jobs.wait(job.id)
    assert done.state == "Canceled"
    assert "not all of what it left arrived" in done.message


def test_what_ended_leaves_nothing_in_the_cluster(life: Life) -> None:
    life.shell("exit 3")
    running = life.submit("echo one; sleep 600")
    life.service.stop()
    life.begin()
    life.jobs.cancel(running.id)
    assert life.jobs.wait(running.id).state == "Canceled"
    for _ in range(2):  # Whatever the first life had no time for, the second one's sweep does.
        life.service.stop()
        life.begin()
    life.service.stop()
    assert life.objects() == []
    life.begin()


@pytest.mark.parametrize("environment", ["nowhere", "broken"])
def test_an_image_that_is_not_there_is_told(life: Life, environment: str) -> None:
    job = life.shell("true", environment=environment)
    assert (job.state, job.reason) == ("Error", "start")
    assert "The" in job.message
    assert "image" in job.message


def test_an_unknown_environment_is_refused(life: Life) -> None:
    with pytest.raises(UnknownEnvironment, match="nonsuch"):
        life.submit("true", environment="nonsuch")


def test_what_no_node_can_ever_run_ends_at_once(life: Life) -> None:
    job = life.shell("true", instance_type="A100-80Gx8")
    assert (job.state, job.reason) == ("Error", "start")
    assert job.message.startswith("No node of the cluster can ever run it. Needs 8 × GPU")


def quota(cluster: Cluster, pods: int) -> None:
    """Allow the namespace so many pods."""

    async def put() -> None:
        meta = client.V1ObjectMeta(name="tight")
        spec = client.V1ResourceQuotaSpec(hard={"pods": str(pods)})
        made = client.V1ResourceQuota(metadata=meta, spec=spec)
        async with cluster.api() as api:
            core, where = client.CoreV1Api(api), cluster.namespace
            if (await core.list_namespaced_resource_quota(where)).items:
                await core.replace_namespaced_resource_quota("tight", where, made)
                return
            await core.create_namespaced_resource_quota(where, made)
            while not (await core.read_namespaced_resource_quota("tight", where)).status.used:
                await asyncio.sleep(0.1)

    asyncio.run(put())


def test_jobs_of_several_nodes_never_wait_for_each_other(cluster: Cluster, tmp_path: Path) -> None:
    with namespace(cluster.kubeconfig) as own:
        quota(own, pods=1)  # where both would have had half of what they need, or one all
        life = Life(tmp_path / "state", own, cpu_request=0.02)
        try:
            first = life.submit("true", nodes=2)
            said = "Waiting for all of its 2 nodes: 1 of them"
            until(lambda: life.jobs.get(first.id).message.startswith(said), "one node is there")
            second = life.submit("true", nodes=2)
            until(lambda: life.jobs.get(second.id).message == NOT_ITS_TURN, "the other waits")
            life.service.stop()
            life.begin()
            until(lambda: life.jobs.get(first.id).message.startswith(said), "it waits as before")
            assert life.jobs.get(second.id).state == "Pending"
            name = object_name(life.hub_label, TaskName(second.id))
            assert name not in life.objects()
            quota(own, pods=2)
            assert [life.jobs.wait(job.id).state for job in (first, second)] == ["Succeeded"] * 2
        finally:
            life.service.stop()
