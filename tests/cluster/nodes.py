"""What a cluster's nodes do: one that falls silent, one whose volume is full."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kubernetes_asyncio import client

from tests.cluster.target import Cluster

SILENT = "nablahub.org/test-silent"
READY = ("Ready", "ContainersReady")


@asynccontextmanager
async def silent_node(cluster: Cluster) -> AsyncIterator[str]:
    """While the block runs, the cluster has a node that was ready once, and never says a word more.

    No kubelet runs for it: its pods are wherever they are said to be.
    """
    name = f"silent-{secrets.token_hex(3)}"
    room = {"cpu": "8", "memory": "8Gi", "pods": "10", "ephemeral-storage": "8Gi"}
    now = datetime.now(UTC)
    ready = client.V1NodeCondition(
        type="Ready", status="True", reason="Test", message="", last_heartbeat_time=now,
        last_transition_time=now,
    )  # fmt: skip
    node = client.V1Node(
        metadata=client.V1ObjectMeta(name=name, labels={SILENT: name}),
        spec=client.V1NodeSpec(taints=[client.V1Taint(key=SILENT, effect="NoSchedule")]),
        status=client.V1NodeStatus(conditions=[ready], allocatable=room, capacity=room),
    )
    async with cluster.api() as api:
        core = client.CoreV1Api(api)
        await core.create_node(node)
        try:
            yield name
        finally:
            await core.delete_node(name)


async def pretend_it_runs(cluster: Cluster, name: str) -> None:
    """Say of a pod what its kubelet would, once it has a node."""
    async with cluster.api() as api:
        core = client.CoreV1Api(api)
        while (
            pod := await core.read_namespaced_pod(name, cluster.namespace)
        ).spec.node_name is None:
            await asyncio.sleep(0.1)
        now = datetime.now(UTC).isoformat()
        containers = [
            {"name": container.name, "image": container.image, "imageID": "", "ready": True,
             "restartCount": 0, "state": {"running": {"startedAt": now}}}
            for container in pod.spec.containers
        ]  # fmt: skip
        status: dict[str, Any] = {
            "phase": "Running", "podIP": "10.244.255.1", "containerStatuses": containers,
            "conditions": [{"type": kind, "status": "True"} for kind in READY],
        }  # fmt: skip
        await core.patch_namespaced_pod_status(name, cluster.namespace, {"status": status})


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A folder of this machine, on a file system of its own that holds so much."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root of the node's machine can make a small disk for it")
    folder = Path(f"/var/tmp/nablahub-small-{secrets.token_hex(4)}")
    folder.mkdir()
    try:
        options = f"size={megabytes}m,mode=0777"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
    finally:
        folder.rmdir()


@asynccontextmanager
async def small_class(cluster: Cluster, folder: Path) -> AsyncIterator[str]:
    """While the block runs, the cluster has a storage class of one volume: that folder."""
    name = f"small-{secrets.token_hex(4)}"
    volume = client.V1PersistentVolume(
        metadata=client.V1ObjectMeta(name=name),
        spec=client.V1PersistentVolumeSpec(
            capacity={"storage": "64Mi"}, access_modes=["ReadWriteOnce"], storage_class_name=name,
            host_path=client.V1HostPathVolumeSource(path=str(folder), type="Directory"),
            persistent_volume_reclaim_policy="Retain",
        ),
    )  # fmt: skip
    async with cluster.api() as api:
        core = client.CoreV1Api(api)
        await core.create_persistent_volume(volume)
        try:
            yield name
        finally:
            await core.delete_persistent_volume(name)
