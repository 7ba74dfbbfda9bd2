"""A real hub on this machine whose servers are pods of the cluster's."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tests.cluster.target import Cluster
from tests.support import hub as support
from tests.support.hub import RunningHub
from tests.support.relay import relayed

HEAD = """
c = get_config()
c.NablaHub.spawner = "kubernetes"
c.NablaHub.instance_types_file = {types!r}
"""
TAIL = """
LOCAL = "127.0.0.1"
c.NablaKubeSpawner.hub_connect_url = c.JupyterHub.hub_connect_url.replace(LOCAL, {host!r})
c.NablaKubeSpawner.pod_service_url = c.NablaSpawner.service_url.replace(LOCAL, {host!r})
c.NablaKubeSpawner.namespace = {namespace!r}
c.NablaKubeSpawner.image = {image!r}
c.NablaKubeSpawner.image_pull_policy = "Never"
c.NablaKubeSpawner.cpu_request_share = 0.05
c.NablaKubeSpawner.storage_capacity = "64Mi"
c.NablaKubeSpawner.team_storage_capacity = "64Mi"
c.NablaKubeSpawner.team_storage_access_modes = ["ReadWriteOnce"]
c.NablaKubeSpawner.consecutive_failure_limit = 3
"""


PODS = """
c = get_config()
c.NablaHub.kubernetes = {kubernetes!r}
c.NablaHub.instance_types_file = {types!r}
"""
SERVERS = """
c.NablaKubeSpawner.image = {image!r}
c.NablaKubeSpawner.image_pull_policy = "Never"
c.NablaKubeSpawner.cpu_request_share = 0.05
c.NablaKubeSpawner.storage_capacity = "64Mi"
c.NablaKubeSpawner.team_storage_capacity = "64Mi"
c.NablaKubeSpawner.team_storage_access_modes = ["ReadWriteOnce"]
c.NablaKubeSpawner.consecutive_failure_limit = 0
"""


@contextmanager
def cluster_hub(
    cluster: Cluster,
    folder: Path,
    *,
    kubeconfig: Path | None = None,
    types: dict[str, object] | None = None,
    more: str = "",
    **settings: object,
) -> Iterator[RunningHub]:
    """`nablahub up --runner kubernetes` for several users: its servers and its jobs are pods.

    Parameters
    ----------
    cluster : Cluster
        Where; the namespace is this run's.
    folder : pathlib.Path
        For its state and its configuration.
    kubeconfig : pathlib.Path or None
        By which it reaches the cluster, when not by the tests' own.
    types : dict or None
        Instance types, beside those of the catalogue.
    more : str
        The end of its ``jupyterhub_config.py``.
    settings : JSON
        More of ``c.NablaHub.kubernetes``.
    """
    kinds, config = folder / "instance-types.yaml", folder / "jupyterhub_config.py"
    kinds.write_text(json.dumps({"types": types or {}}))  # which is YAML as well
    kubernetes = {
        "kubeconfig": str(kubeconfig or cluster.kubeconfig), "namespace": cluster.namespace,
        "image": cluster.image("runner"), "pull_policy": "Never", "cpu_request": 0.05,
        "storage_size": "64Mi", "volume_size": "64Mi", **settings,
    }  # fmt: skip
    head = PODS.format(kubernetes=kubernetes, types=str(kinds))
    tail = SERVERS.format(image=cluster.image("notebook"))
    config.write_text(head + support.CONFIG.read_text() + tail + more)
    words = ("--runner", "kubernetes", "--advertise", address_for_pods(cluster))
    with support.running(folder / "state", config, *words) as hub:
        yield hub


def address_for_pods(cluster: Cluster) -> str:
    """Return the address of this machine that the cluster, and so its pods, can call."""

    async def host() -> str:
        async with cluster.api() as api:
            return str(api.configuration.host)

    server = urlsplit(asyncio.run(host()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((server.hostname or "", server.port or 443))  # sends nothing
        return str(probe.getsockname()[0])


@contextmanager
def kube_hub(
    cluster: Cluster, folder: Path, types: dict[str, object], more: str = "", first: str = ""
) -> Iterator[RunningHub]:
    """A hub whose servers run in the cluster's namespace.

    Parameters
    ----------
    cluster : Cluster
        Where.
    folder : pathlib.Path
        For its state and its configuration.
    types : dict
        Instance types, beside those of the catalogue.
    more : str
        The end of its ``jupyterhub_config.py``.
    first : str
        What it says before NablaHub is installed.
    """
    host = address_for_pods(cluster)
    tail = TAIL.format(host=host, namespace=cluster.namespace, image=cluster.image("notebook"))
    config = folder / "jupyterhub_config.py"
    kinds = folder / "instance-types.yaml"
    kinds.write_text(json.dumps({"types": types}))  # which is YAML as well
    head = HEAD.format(types=str(kinds)) + first
    config.write_text(head + support.CONFIG.read_text() + tail + more)
    with support.running(folder / "state", config) as hub:
        ports = json.loads(hub.state.config.read_text())
        with relayed(host, ports["hub_port"], ports["service_port"]):
            yield hub


class Browser:
    """A user at the hub's own pages, signed in while a block runs."""

    def __init__(self, hub: RunningHub, name: str) -> None:
        self.hub, self.name = hub, name
        self.client = httpx.Client(trust_env=False, follow_redirects=True, timeout=60)

    def __enter__(self) -> Browser:
        self.get("/hub/login")
        answer = self._post("/hub/login", username=self.name, password=f"password-of-{self.name}")
        assert answer.status_code == 200, answer.text
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def _post(self, path: str, **fields: str) -> httpx.Response:
        data = {**fields, "_xsrf": self.client.cookies["_xsrf"]}
        return self.client.post(f"{self.hub.url}{path}", data=data)

    def get(self, path: str) -> httpx.Response:
        """Load a page."""
        return self.client.get(f"{self.hub.url}{path}")

    def choose(self, instance_type: str) -> httpx.Response:
        """Send the spawn page's form; returns the page that follows."""
        self.get(f"/hub/spawn/{self.name}")
        return self._post(f"/hub/spawn/{self.name}", instance_type=instance_type)

    def events(self) -> Iterator[dict[str, object]]:
        """Yield the events that the page of a starting server shows, to the last."""
        url = f"{self.hub.url}/hub/api/users/{self.name}/server/progress"
        token = {"Authorization": f"token {self.hub.token(self.name)}"}
        with httpx.stream("GET", url, headers=token, timeout=300, trust_env=False) as answer:
            assert answer.status_code == 200, answer.read()
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line[5:])
