"""Nodes that kwok simulates (https://kwok.sigs.k8s.io), for as long as a benchmark wants them."""

from __future__ import annotations

import asyncio
import multiprocessing
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from aiohttp import web
from kubernetes_asyncio import client

from tests.cluster.gate import Gate
from tests.cluster.target import Cluster
from tests.support.waiting import until

STAGES = Path(__file__).with_name("kwok.yaml")
#: On the nodes, with the namespace of the run that they are of.
MARK = "nablahub.org/simulated"
#: What others may delete them by, should a kill leave them behind.
LABELS = {"type": "kwok"}
GPUS = 8
_SIZE = {"cpu": "96", "memory": "1Ti", "pods": "110", "nvidia.com/gpu": str(GPUS)}
_AT_ONCE = 20
#: kwok renews a lease four times within this.
_LEASE_SECONDS = 120
#: kwok watches from version 0, and so is given all that is there once more at the beginning. An API
#: of 1.34 over an etcd before 3.4.31 refuses that ("the required storage feature
#: RequestWatchProgress is disabled"); kwok then lists again and again, with ever longer pauses, and
#: its pods stand still for up to a minute. This says that it needs nothing but what comes, which is
#: so: the nodes are there before it is, and the pods come after.
_ONLY_NEW = {
    "sendInitialEvents": "false", "resourceVersionMatch": "NotOlderThan", "timeoutSeconds": "7200"
}  # fmt: skip
_SPAWN = multiprocessing.get_context("spawn")


def kwok() -> str | None:
    """Return the program, if it is here."""
    return shutil.which("kwok")


def place(cluster: Cluster) -> dict[str, object]:
    """Return the fields of an instance type whose pods go to the simulated nodes."""
    toleration = {"key": MARK, "operator": "Exists"}
    return {"node_selector": {MARK: cluster.namespace}, "tolerations": [toleration]}


class _OnlyNew(Gate):
    """The way of kwok to the API."""

    def onward(self, request: web.Request) -> str:
        """Return the path and the query with which a request goes on."""
        if "watch" not in request.query:
            return super().onward(request)
        return str(request.rel_url.update_query(_ONLY_NEW))


def _lead(kubeconfig: Path, to: Path, opened: Any) -> None:
    """Hold the way open, in a process of its own: it must not delay who measures."""
    with _OnlyNew(kubeconfig) as way:
        way.kubeconfig(to, "default")
        opened.set()
        signal.pause()


@contextmanager
def _way(cluster: Cluster) -> Iterator[Path]:
    """While the block runs, a kubeconfig leads kwok to the cluster."""
    with tempfile.TemporaryDirectory() as folder:
        opened, to = _SPAWN.Event(), Path(folder) / "kubeconfig"
        process = _SPAWN.Process(target=_lead, args=(cluster.kubeconfig, to, opened), daemon=True)
        process.start()
        try:
            assert opened.wait(60)
            yield to
        finally:
            process.kill()
            process.join()


@contextmanager
def nodes(cluster: Cluster, count: int) -> Iterator[None]:
    """While the block runs, the cluster has so many simulated nodes, which take only our pods."""
    with _made(cluster, count), _way(cluster) as kubeconfig, tempfile.TemporaryFile() as log:
        command = [
            str(kwok()), f"--kubeconfig={kubeconfig}", f"--config={STAGES}",
            "--manage-all-nodes=false", "--cidr=10.64.0.0/16",
            f"--node-lease-duration-seconds={_LEASE_SECONDS}",
            f"--manage-nodes-with-annotation-selector={MARK}={cluster.namespace}",
        ]  # fmt: skip
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            until(lambda: asyncio.run(_ready(cluster)) >= count, "the simulated nodes are ready")
            _renewed(cluster, count)
            assert process.poll() is None
            yield
        finally:
            process.kill()
            process.wait()


@contextmanager
def _made(cluster: Cluster, count: int) -> Iterator[None]:
    try:
        asyncio.run(_make(cluster, range(count)))
        yield
    finally:
        asyncio.run(_remove(cluster))


async def _each(numbers: Sequence[int], work: Any) -> None:
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(number: int) -> None:
        async with slots:
            await work(number)

    await asyncio.gather(*(one(number) for number in numbers))


def _renewed(cluster: Cluster, count: int) -> None:
    """Return when each node's lease was renewed once.

    Of the nodes that it meets first kwok may forget some; they become NotReady after a while, and
    their pods stand still. Those are made anew.
    """
    for _ in range(3):
        with suppress(AssertionError):
            until(
                lambda: not asyncio.run(_forgotten(cluster, count)), "all leases are renewed",
                seconds=_LEASE_SECONDS / 2, pause=2,
            )  # fmt: skip
            return
        asyncio.run(_make(cluster, asyncio.run(_forgotten(cluster, count)), anew=True))
    raise AssertionError("kwok forgets nodes again and again")


async def _forgotten(cluster: Cluster, count: int) -> list[int]:
    """Return the numbers of the nodes whose lease was not renewed yet."""
    async with cluster.api() as api:
        found = await client.CoordinationV1Api(api).list_namespaced_lease("kube-node-lease")
    renewed = {
        each.metadata.name
        for each in found.items
        if each.spec.renew_time > each.metadata.creation_timestamp + timedelta(seconds=3)
    }
    return [each for each in range(count) if f"{cluster.namespace}-{each}" not in renewed]


async def _make(cluster: Cluster, numbers: Sequence[int], *, anew: bool = False) -> None:
    async with cluster.api() as api:
        core = client.CoreV1Api(api)
        mark = {MARK: cluster.namespace}

        async def make(number: int) -> None:
            name = f"{cluster.namespace}-{number}"
            if anew:
                await core.delete_node(name)
            labels = {**LABELS, **mark, "kubernetes.io/hostname": name}
            taint = client.V1Taint(key=MARK, value="yes", effect="NoSchedule")
            await core.create_node(
                client.V1Node(
                    metadata=client.V1ObjectMeta(
                        name=name, annotations=mark,
                        labels={**labels, "nvidia.com/gpu.product": "A100"},
                    ),
                    spec=client.V1NodeSpec(taints=[taint]),
                    status=client.V1NodeStatus(allocatable=_SIZE, capacity=_SIZE),
                )
            )  # fmt: skip

        await _each(numbers, make)


async def _ready(cluster: Cluster) -> int:
    async with cluster.api() as api:
        found = await client.CoreV1Api(api).list_node(
            label_selector=f"{MARK}={cluster.namespace}", resource_version="0"
        )
    return sum(
        any(each.type == "Ready" and each.status == "True" for each in node.status.conditions or ())
        for node in found.items
    )


async def _remove(cluster: Cluster) -> None:
    """Delete the nodes, and first their pods, which nobody else would."""
    async with cluster.api() as api:
        core = client.CoreV1Api(api)
        await core.delete_collection_namespaced_pod(cluster.namespace, grace_period_seconds=0)
        await core.delete_collection_node(label_selector=f"{MARK}={cluster.namespace}")
