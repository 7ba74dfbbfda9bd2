"""What a cluster does to tasks: evictions, images that are not there, an API that is away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from kubernetes_asyncio import client

from nablahub.jobs.runners.contract import (
    Mount,
    Placement,
    Resources,
    TaskName,
    TaskRefused,
    Toleration,
)
from nablahub.jobs.runners.kubernetes.names import object_name, selector
from tests.cluster.conftest import namespace
from tests.cluster.nodes import SILENT, pretend_it_runs, silent_node, small_class, small_disk
from tests.cluster.places import KubernetesPlace
from tests.cluster.target import Cluster
from tests.contract.places import Watcher
from tests.contract.suite import ONE, data, lines, log, shell


@pytest.fixture(scope="module")
def cluster(cluster: Cluster) -> Iterator[Cluster]:
    """A namespace whose quota counts nobody else's pods."""
    with namespace(cluster.kubeconfig) as own:
        yield own


async def changed(cluster: Cluster, tmp_path: Path, **settings: object) -> KubernetesPlace:
    """A place whose settings differ."""
    made = KubernetesPlace(tmp_path, cluster, **settings)
    await made.open()
    return made


async def test_an_evicted_task_is_lost_with_the_reason(place: KubernetesPlace) -> None:
    task = shell("echo run; sleep 600")
    await place.runner.start(task)
    assert await lines(place, task, 1) == ["run"]
    pod = await place.pod(ONE)
    meta = client.V1ObjectMeta(name=pod["metadata"]["name"], namespace=place.cluster.namespace)
    async with place.cluster.api() as api:
        await client.CoreV1Api(api).create_namespaced_pod_eviction(
            pod["metadata"]["name"], place.cluster.namespace, client.V1Eviction(metadata=meta)
        )
    status = await Watcher(place).until_ended(task)
    assert (status.verdict, status.exit_code) == ("lost", None)
    assert "evicted" in status.message
    assert await log(place) == "run\n"


@pytest.mark.parametrize(
    ("image", "policy", "words"),
    [
        ("localhost/nablahub-nonsuch:1", "Never", "not on the node"),
        ("127.0.0.1:1/nonsuch:1", "IfNotPresent", "could not be pulled"),
        ("localhost/NOT valid", "Never", "not valid"),
    ],
)
async def test_an_image_that_cannot_be_had_ends_it(
    cluster: Cluster, tmp_path: Path, image: str, policy: str, words: str
) -> None:
    place = await changed(cluster, tmp_path, image=image, pull_policy=policy)
    try:
        task = shell("true")
        await place.runner.start(task)
        status = await Watcher(place).until_ended(task)
        assert status.verdict == "start"
        assert words in status.message
        if policy == "IfNotPresent":
            told = (await log(place)).splitlines()
            assert told[0].startswith('nablahub: Pulling image "127.0.0.1:1/nonsuch:1"')
            assert told[1].startswith("nablahub: Failed to pull image")
        assert await place.api.get("Job", object_name(place.settings.hub, ONE)) is None
    finally:
        await place.close()


async def test_what_no_node_has_room_for_waits_where_nodes_come_and_says_so(
    cluster: Cluster, tmp_path: Path
) -> None:
    place = await changed(cluster, tmp_path, autoscaled=True)
    try:
        task = shell("true", resources=Resources(cpus=4000))
        await place.runner.start(task)
        heard = asyncio.Event()
        place.runner.listen(lambda _: heard.set())
        while "Insufficient cpu" not in (status := await place.runner.look(task)).message:
            await heard.wait()
            heard.clear()
        assert (status.phase, status.started_at) == ("running", None)
        await place.runner.cancel(ONE, grace_seconds=300, message="enough")
        assert (await Watcher(place).until_ended(task)).verdict == "cancelled"
    finally:
        await place.close()


async def test_what_no_node_can_ever_run_is_refused(place: KubernetesPlace) -> None:
    with pytest.raises(TaskRefused, match="Needs 4000 CPUs; the largest node has"):
        await place.runner.start(shell("true", resources=Resources(cpus=4000)))
    assert await place.api.get("Job", object_name(place.settings.hub, ONE)) is None


async def test_an_api_that_is_away_for_a_while_is_waited_for(place: KubernetesPlace) -> None:
    script = "echo one; while [ ! -e /data/go ]; do sleep 0.02; done; echo two"
    task = shell(script, mounts=(data(),))
    await place.runner.start(task)
    assert await lines(place, task, 1) == ["one"]
    await place.way.close()
    await place.put("v", "go", "")
    # It ends while nobody sees the cluster; the log comes by another way and is whole before.
    while (await place.pod(ONE))["status"]["phase"] not in ("Succeeded", "Failed"):
        await asyncio.sleep(0.2)
    assert (await place.runner.look(task)).phase == "running"
    await place.way.open()
    status = await Watcher(place).until_ended(task)
    assert (status.verdict, status.exit_code) == ("code", 0)
    assert (await log(place)).splitlines() == ["one", "two"]


async def test_a_service_that_is_away_loses_no_line(place: KubernetesPlace) -> None:
    task = shell(
        "for i in 1 2 3 4 5 6 7 8 9; do echo line $i; sleep 0.2; done; echo > /artifacts/a"
    )
    await place.runner.start(task)
    assert (await lines(place, task, 1))[0] == "line 1"
    for _ in range(3):
        await place.restart()
        await place.receiver.stop()
        await place.receiver.start(place.runner.receiving)
    assert (await Watcher(place).until_ended(task)).exit_code == 0
    assert (await log(place)).splitlines() == [f"line {i}" for i in range(1, 10)]
    assert (place.runner.artifacts(ONE) / "a").exists()


async def test_a_job_removed_by_hand_is_lost(place: KubernetesPlace) -> None:
    task = shell("echo run; sleep 600")
    await place.runner.start(task)
    assert await lines(place, task, 1) == ["run"]
    watcher = Watcher(place)
    assert (await place.runner.look(task)).phase == "running"
    await place.api.delete("Job", object_name(place.settings.hub, ONE))
    assert (await watcher.until_ended(task)).verdict == "lost"


async def test_what_has_no_folder_any_more_is_found_and_forgotten(place: KubernetesPlace) -> None:
    orphan = TaskName("jorphan")
    task = shell("sleep 600", name=orphan)
    await place.runner.start(task)
    await place.runner.close()
    (place.jobs / orphan).rename(place.root / "away")
    await place.restart()
    assert await place.runner.names() == [orphan]
    await place.runner.forget(orphan)
    assert await place.runner.names() == []


@contextlib.asynccontextmanager
async def quota(place: KubernetesPlace, **hard: str) -> AsyncIterator[None]:
    """While the block runs, the namespace has a quota, which has been counted."""
    where = place.cluster.namespace
    made = client.V1ResourceQuota(
        metadata=client.V1ObjectMeta(name="tight"), spec=client.V1ResourceQuotaSpec(hard=hard)
    )
    async with place.cluster.api() as api:
        core = client.CoreV1Api(api)
        await core.create_namespaced_resource_quota(where, made)
        try:
            while not (await core.read_namespaced_resource_quota("tight", where)).status.used:
                await asyncio.sleep(0.1)
            yield
        finally:
            await core.delete_namespaced_resource_quota("tight", where)


async def test_a_quota_that_is_used_up_is_told_and_waited_for(place: KubernetesPlace) -> None:
    first, second = shell("sleep 600"), shell("true", name=TaskName("jtwo"))
    async with quota(place, pods="1"):
        await place.runner.start(first)
        await place.pod(ONE)
        await place.runner.start(second)
        watcher = Watcher(place)
        while (
            "The quota 'tight' is used up"
            not in (status := await place.runner.look(second)).message
        ):
            await watcher.changed()
        assert (status.phase, status.started_at) == ("running", None)
        assert "cancel what is not needed" in status.message
        await place.runner.cancel(ONE, grace_seconds=0, message="enough")
        assert (await watcher.until_ended(first)).verdict == "cancelled"
        await place.runner.tidy(ONE)
        assert (await watcher.until_ended(second)).exit_code == 0


async def test_what_never_fits_into_a_quota_ends_with_what_to_do(place: KubernetesPlace) -> None:
    task = shell("true", resources=Resources(cpus=1, memory_bytes=64 << 20))
    async with quota(place, **{"requests.cpu": "500m", "requests.memory": "10Gi"}):
        await place.runner.start(task)
        status = await Watcher(place).until_ended(task)
    assert status.verdict == "start"
    assert "never fit into the quota 'tight'" in status.message
    assert "Choose a smaller instance type" in status.message
    assert await place.api.get("Job", object_name(place.settings.hub, ONE)) is None


async def test_a_quota_that_wants_to_know_more_is_told(place: KubernetesPlace) -> None:
    task = shell("true", resources=Resources(cpus=1, memory_bytes=64 << 20))
    async with quota(place, **{"limits.cpu": "8"}):
        await place.runner.start(task)
        status = await Watcher(place).until_ended(task)
    assert status.verdict == "start"
    assert "must specify limits.cpu for: commit" in status.message
    assert "a LimitRange gives what is missing a default" in status.message


async def test_more_on_the_disk_than_it_may_is_told(cluster: Cluster, tmp_path: Path) -> None:
    place = await changed(cluster, tmp_path, scratch_size="4Mi")
    try:
        task = shell("head -c 16m /dev/zero > /work/large; sleep 600")
        await place.runner.start(task)
        status = await Watcher(place).until_ended(task)
        assert status.verdict == "disk"
        assert "4Mi" in status.message
    finally:
        await place.close()


async def test_a_node_that_stops_answering(cluster: Cluster, tmp_path: Path) -> None:
    place = await changed(cluster, tmp_path, stuck_seconds=4)
    try:
        async with silent_node(cluster) as name:
            silent = "node.kubernetes.io/unreachable"
            placement = Placement(
                node_selector={SILENT: name},
                tolerations=(
                    Toleration(key=SILENT, operator="Exists"),
                    Toleration(key=silent, operator="Exists", effect="NoExecute", seconds=3),
                ),
            )
            task = shell("sleep 600", placement=placement)
            await place.runner.start(task)
            pod = await place.pod(ONE)
            await pretend_it_runs(cluster, pod["metadata"]["name"])
            heard = asyncio.Event()
            place.runner.listen(lambda _: heard.set())
            while "Its node does not answer" not in (await place.runner.look(task)).message:
                await heard.wait()
                heard.clear()
            # Nobody there ends it; after a while it is taken out without being asked.
            status = await Watcher(place).until_ended(task)
            assert status.verdict == "lost"
            assert "its node was tainted, as when it stops answering" in status.message
            assert (await place.api.list("Pod", selector(place.settings.hub)))[0] == []
    finally:
        await place.close()


async def test_a_pod_deleted_by_hand_is_lost(place: KubernetesPlace) -> None:
    task = shell("echo run; sleep 600", grace_seconds=0.5)
    await place.runner.start(task)
    assert await lines(place, task, 1) == ["run"]
    pod = await place.pod(ONE)
    await place.api.delete("Pod", pod["metadata"]["name"])
    status = await Watcher(place).until_ended(task)
    assert (status.verdict, status.exit_code) == ("lost", None)
    assert "its pod was deleted" in status.message


async def test_a_full_volume_is_told_by_the_command_itself(
    cluster: Cluster, tmp_path: Path
) -> None:
    with small_disk(1) as folder:
        async with small_class(cluster, folder) as name:
            place = await changed(cluster, tmp_path, storage_class=name)
            try:
                mount = Mount(path="/full", kind="volume", ref="full", mode="rw")
                task = shell("echo kept > /full/first; head -c 2m /dev/zero > /full/second",
                             mounts=(mount,))  # fmt: skip
                await place.runner.start(task)
                status = await Watcher(place).until_ended(task)
                assert (status.verdict, status.exit_code) == ("code", 1)
                assert "No space left on device" in await log(place)
                assert "No space left on device" in status.last_words
                assert (folder / "first").read_text() == "kept\n"
            finally:
                await place.close()
