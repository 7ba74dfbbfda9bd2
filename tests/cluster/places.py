"""Where the contract suite runs tasks on a cluster."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

from kubernetes_asyncio import client, config
from kubernetes_asyncio.stream import WsApiClient
from ruamel.yaml import YAML

from nablahub.core.kubernetes import KubernetesSettings
from nablahub.jobs.runners.contract import Mount, TaskName, TaskSpec
from nablahub.jobs.runners.kubernetes.api import Api
from nablahub.jobs.runners.kubernetes.names import TASK, selector
from nablahub.jobs.runners.kubernetes.objects import Cluster as Target
from nablahub.jobs.runners.kubernetes.objects import claims
from nablahub.jobs.runners.kubernetes.runner import KubernetesRunner
from tests.cluster.helper import Receiver, Way, own_address, with_server
from tests.cluster.target import Cluster
from tests.contract.places import Layout, processes_with


async def first_pod(
    api: Api, labels: str, wanted: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Return the first pod with these labels that is as wanted, now or later."""
    while True:
        pods, version = await api.list("Pod", labels)
        for pod in pods:
            if wanted(pod):
                return pod
        async with aclosing(api.watch("Pod", labels, version)) as changes:
            async for event, pod in changes:
                if event in ("ADDED", "MODIFIED") and wanted(pod):
                    return pod


class KubernetesPlace:
    """The kubernetes runner over a hub's label of its own."""

    runner: KubernetesRunner

    def __init__(self, root: Path, cluster: Cluster, **changes: Any) -> None:
        self.root = root / "a place"
        self.jobs = self.root / "jobs"
        self.jobs.mkdir(parents=True)
        self.cluster = cluster
        self._changes = changes
        self._helpers: dict[str, str] = {}

    async def open(self) -> None:
        """Start the way to the cluster, what takes in files, and the runner."""
        given = YAML(typ="safe").load(self.cluster.kubeconfig)
        server = given["clusters"][0]["cluster"]["server"]
        self.way = Way(server)
        await self.way.open()
        relayed = self.root / "kubeconfig"
        relayed.write_text(json.dumps(with_server(given, self.way)))
        self.settings = KubernetesSettings(
            kubeconfig=relayed,
            namespace=self.cluster.namespace,
            hub=f"h{secrets.token_hex(5)}",
            image=self.cluster.image("runner"),
            pull_policy="Never",
            volume_size="64Mi",
        ).model_copy(update=self._changes)
        self.api = Api(self.settings.model_copy(update={"kubeconfig": self.cluster.kubeconfig}))
        await self.api.connect()
        self.receiver = Receiver(own_address(server))
        await self._start()

    async def _start(self) -> None:
        self.runner = KubernetesRunner(self.jobs, self.settings, "", Layout(self.root))
        await self.receiver.start(self.runner.receiving)
        self.runner.service_url = self.receiver.url

    async def restart(self) -> None:
        await self.runner.close()
        await self.receiver.stop()
        await self._start()

    async def kill_machinery(self) -> None:
        self.way.cut()

    async def kill_parent(self, name: TaskName) -> None:
        pod = await self.pod(name)
        await self.api.delete("Pod", pod["metadata"]["name"], grace_seconds=1)

    async def pod(self, name: TaskName) -> dict[str, Any]:
        """The task's pod, as soon as there is one."""
        return await first_pod(
            self.api,
            selector(self.settings.hub),
            lambda pod: bool(pod["metadata"]["annotations"][TASK] == name),
        )

    def left(self, marker: str) -> list[str]:
        # Where the cluster's node is this machine; elsewhere there is nothing to be seen.
        return processes_with(marker)

    async def put(self, volume: str, name: str, text: str = "") -> None:
        await self._in_volume(
            volume, "import sys; open(sys.argv[1], 'w').write(sys.argv[2])", name, text
        )

    async def get(self, volume: str, name: str) -> str | None:
        script = (
            "import json, pathlib, sys; p = pathlib.Path(sys.argv[1]); "
            "print('=' + json.dumps(p.read_text() if p.exists() else None))"
        )
        # Without the sign the client would take the answer for JSON of its own.
        said = json.loads((await self._in_volume(volume, script, name)).removeprefix("="))
        assert said is None or isinstance(said, str)
        return said

    async def _in_volume(self, volume: str, script: str, *words: str) -> str:
        pod = self._helpers.get(volume) or await self._helper(volume)
        settings = client.Configuration()
        await config.load_kube_config(str(self.cluster.kubeconfig), client_configuration=settings)
        async with WsApiClient(settings) as api:
            said: str = await client.CoreV1Api(api).connect_get_namespaced_pod_exec(
                pod, self.cluster.namespace,
                command=["python3", "-c", script, *words],
                stderr=True, stdin=False, stdout=True, tty=False,
            )  # fmt: skip
        return said

    async def _helper(self, volume: str) -> str:
        """A pod that sees a volume beside the tasks."""
        mount = Mount(path="/v", kind="volume", ref=volume, mode="rw")
        task = TaskSpec(command=("true",), mounts=(mount,))
        (claim,) = claims(task, Target(self.settings, ""))
        await self.api.create(claim)
        name = f"helper-{secrets.token_hex(5)}"
        container = {
            "name": "main", "image": self.settings.image, "imagePullPolicy": "Never",
            "command": ["sleep", "600"], "workingDir": "/v",
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        }  # fmt: skip
        where = {"name": "v", "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}
        labels = {"nablahub.org/helper": self.settings.hub}
        await self.api.create(
            {
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
                "spec": {"containers": [container], "volumes": [where], "restartPolicy": "Never",
                         "securityContext": {"fsGroup": 1000}},
            }
        )  # fmt: skip
        self._helpers[volume] = name
        wanted = f"nablahub.org/helper={self.settings.hub}"
        await first_pod(
            self.api,
            wanted,
            lambda pod: pod["metadata"]["name"] == name and pod["status"]["phase"] == "Running",
        )
        return name

    async def close(self) -> None:
        labels = selector(self.settings.hub)
        for kind in ("Job", "Secret"):
            for made in (await self.api.list(kind, labels))[0]:
                await self.api.delete(kind, made["metadata"]["name"])
        pods, _ = await self.api.list("Pod", labels)
        names = [pod["metadata"]["name"] for pod in pods]
        await asyncio.gather(
            *(self.api.delete("Pod", n, grace_seconds=1) for n in (*names, *self._helpers.values()))
        )
        await self.runner.close()
        await self.receiver.stop()
        await self.way.close()
        await self.api.close()
