"""Tasks of several nodes: each a pod, which find each other by name and end together."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from nablahub.jobs.runners.contract import Mount, Resources, TaskSpec
from nablahub.jobs.runners.kubernetes.names import TASK, object_name, selector
from tests.cluster.places import KubernetesPlace
from tests.cluster.target import Cluster
from tests.contract.places import Watcher
from tests.contract.suite import ONE, data, lines, log, shell

#: Each node listens, asks all others for their number by their names, and tells the sum.
ALL_REDUCE = """
import os, socket, threading, time
rank, port = int(os.environ["RANK"]), int(os.environ["MASTER_PORT"])
names = os.environ["NABLAHUB_NODES"].split(",")
server = socket.create_server(("", port), backlog=len(names))
def give():
    for _ in names:
        with server.accept()[0] as other:
            other.sendall(b"%d" % (10 ** rank))
giver = threading.Thread(target=give)
giver.start()
def connected(name):
    while True:
        try:
            return socket.create_connection((name, port), timeout=30)
        except (ConnectionRefusedError, socket.gaierror):  # It does not listen yet.
            time.sleep(0.02)
total = 0
for name in names:
    with connected(name) as other:
        total += int(other.makefile().read())
giver.join()
assert names[0] == os.environ["MASTER_ADDR"] and len(names) == int(os.environ["WORLD_SIZE"])
print("the sum is", total)
"""


def several(script: str, *words: str, nodes: int = 3, **more: Any) -> TaskSpec:
    return shell(script, *words, nodes=nodes, resources=Resources(cpus=1), **more)


@pytest.fixture
async def small(place: KubernetesPlace) -> KubernetesPlace:
    """A place that keeps so little free for each pod that three fit anywhere."""
    place.settings = place.settings.model_copy(update={"cpu_request": 0.02})
    await place.restart()
    return place


async def pods(place: KubernetesPlace) -> dict[int, str]:
    """The names of the task's pods by the number of their node."""
    found, _ = await place.api.list("Pod", selector(place.settings.hub))
    return {
        int(p["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]): p[
            "metadata"
        ]["name"]
        for p in found
        if p["metadata"]["annotations"][TASK] == ONE
    }


async def test_nodes_find_each_other_by_name_and_add_up(small: KubernetesPlace) -> None:
    output = Mount(path="/outputs", kind="output", mode="rw")
    task = several(
        "python3 /work/reduce.py && echo $RANK > /artifacts/rank && echo $RANK > /outputs/rank",
        files={"reduce.py": ALL_REDUCE}, mounts=(output,),
    )  # fmt: skip
    await small.runner.start(task)
    await small.runner.start(task)
    status = await Watcher(small).until_ended(task)
    assert (status.verdict, status.exit_code, status.node) == ("code", 0, None), await log(small)
    said = sorted((await log(small)).splitlines())
    assert said == [f"[node {n}] the sum is 111" for n in range(3)]
    # What the first node leaves is kept.
    assert (small.runner.output(ONE, "rank")).read_text() == "0\n"
    assert (small.runner.artifacts(ONE) / "rank").read_text() == "0\n"
    name = object_name(small.settings.hub, ONE)
    assert await small.api.get("Service", name) is not None
    _, version = await small.api.list("Service", "", fields=f"metadata.name={name}")
    await small.runner.tidy(ONE)
    watch = small.api.watch("Service", "", version, fields=f"metadata.name={name}")
    async with aclosing(watch) as changes:
        async for kind, _ in changes:
            if kind == "DELETED":
                break


async def test_the_first_that_fails_ends_the_others(small: KubernetesPlace, marker: str) -> None:
    task = several(
        "echo begun; while [ ! -e /data/go ]; do sleep 0.02; done;"
        "if [ $RANK = 1 ]; then echo why; exit 3; fi; sleep 600", marker,
        grace_seconds=0.5, mounts=(data(),),
    )  # fmt: skip
    await small.runner.start(task)
    assert len(await lines(small, task, 3)) == 3  # All have begun.
    await small.put("v", "go", "")
    status = await Watcher(small).until_ended(task)
    assert (status.verdict, status.exit_code, status.node) == ("code", 3, 1)
    assert status.last_words == "why"
    assert small.left(marker) == []
    assert {f"[node {n}] begun" for n in range(3)} <= set((await log(small)).splitlines())


async def test_too_much_memory_on_one_node_is_told_of_it(small: KubernetesPlace) -> None:
    eat = "x = bytearray(1 << 30); x[::4096] = b'x' * len(x[::4096])"
    task = shell(
        f'if [ $RANK = 2 ]; then exec python3 -c "{eat}"; fi; sleep 600',
        nodes=3, grace_seconds=0.5, resources=Resources(cpus=1, memory_bytes=128 << 20),
    )  # fmt: skip
    await small.runner.start(task)
    status = await Watcher(small).until_ended(task)
    assert (status.verdict, status.node) == ("oom", 2)


async def test_a_node_that_is_lost_ends_the_task(small: KubernetesPlace, marker: str) -> None:
    task = several("echo begun; sleep 600", marker, grace_seconds=0.5)
    await small.runner.start(task)
    assert len(await lines(small, task, 3)) == 3
    name = (await pods(small))[1]
    await small.api.delete("Pod", name, grace_seconds=1)
    status = await Watcher(small).until_ended(task)
    assert (status.verdict, status.node) == ("lost", 1)
    assert small.left(marker) == []


async def test_nodes_go_on_when_the_service_is_killed_and_are_cancelled_together(
    small: KubernetesPlace, marker: str
) -> None:
    task = several("trap 'echo bye; exit 0' TERM; echo begun; sleep 600 & wait", marker)
    await small.runner.start(task)
    assert len(await lines(small, task, 3)) == 3
    before = await pods(small)
    await small.restart()
    assert (await small.runner.look(task)).phase == "running"
    await small.runner.start(task)
    assert await pods(small) == before
    await small.runner.cancel(ONE, grace_seconds=20, message="enough")
    status = await Watcher(small).until_ended(task)
    assert (status.verdict, status.message) == ("cancelled", "enough")
    assert sorted(line for line in (await log(small)).splitlines() if "bye" in line) == [
        f"[node {n}] bye" for n in range(3)
    ]
    assert small.left(marker) == []


async def test_a_node_without_room_keeps_all_waiting_and_says_so(
    cluster: Cluster, tmp_path: Path, marker: str
) -> None:
    place = KubernetesPlace(tmp_path, cluster, autoscaled=True)
    await place.open()
    try:
        task = shell("echo begun", marker, nodes=2, resources=Resources(cpus=4000))
        await place.runner.start(task)
        watcher = Watcher(place)
        while "Insufficient cpu" not in (await place.runner.look(task)).message:
            await watcher.changed()
        assert "all of its 2 nodes" in (await place.runner.look(task)).message
        await place.runner.cancel(ONE, grace_seconds=300, message="enough")
        assert (await watcher.until_ended(task)).verdict == "cancelled"
        assert await log(place) == ""
    finally:
        await place.close()
