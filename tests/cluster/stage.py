"""Deployments on a real cluster: the service as a process of this machine that can be killed, a
real Traefik in a pod as the public entry, model servers as pods.

The hub is a fake that knows a few tokens; everything else is the real thing.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from ruamel.yaml import YAML

from nablahub.client import Hub
from nablahub.core.kubernetes import KubernetesSettings
from nablahub.core.settings import Settings
from nablahub.core.state import StateDir
from nablahub.core.transport import Transport
from nablahub.deployments.proxy import PREFIX
from nablahub.deployments.types import Deployment
from nablahub.jobs.runners.kubernetes.api import Api
from nablahub.jobs.runners.kubernetes.names import selector
from tests.cluster.helper import own_address
from tests.cluster.target import Cluster
from tests.support.service import FakeHubServer
from tests.support.waiting import until
from tests.unit.serving import graphs

#: On the public entry, with its name.
ENTRY = "nablahub.org/test-entry"
KINDS = (
    "Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget", "Service", "Secret", "Pod"
)  # fmt: skip
ROW = {"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [1.0, 2.0, 3.0, 4.0]}


class Stage:
    """A service, its public entry, and a project with a model in two versions.

    Parameters
    ----------
    root : Path
        Its state directory.
    cluster : Cluster
        Where the pods are.
    """

    def __init__(self, root: Path, cluster: Cluster) -> None:
        self.root = root / "state"
        self.cluster = cluster
        given = YAML(typ="safe").load(cluster.kubeconfig)
        self.host = own_address(given["clusters"][0]["cluster"]["server"])
        self.port = free_port(self.host)
        self.settings = KubernetesSettings(
            kubeconfig=cluster.kubeconfig, namespace=cluster.namespace,
            hub=f"h{secrets.token_hex(5)}", image=cluster.image("runner"), pull_policy="Never",
            images={"serving": cluster.image("serving")}, storage_size="64Mi", cpu_request=0.05,
            stuck_seconds=40,
        )  # fmt: skip
        self._fake = FakeHubServer()
        self._process: subprocess.Popen[bytes] | None = None
        self._transport: Transport | None = None

    def open(self) -> None:
        """Start everything."""
        token = root_file(self.root.parent / "proxy-token", f"{PREFIX}{secrets.token_hex(16)}")
        self.entry = self._entry(token.read_text())
        state = StateDir(self.root).make()
        settings = Settings(
            state_dir=self.root, public_url=self.entry, hub_api_url=self._fake.__enter__(),
            service_host=self.host, service_port=self.port,
            service_url=f"http://{self.host}:{self.port}", proxy_token_file=token,
            runner="kubernetes", kubernetes=self.settings,
        )  # fmt: skip
        state.settings.write_text(settings.model_dump_json())
        self.begin()
        until(self._routed, "Traefik fetches the routes")
        self._prepare()

    def begin(self) -> None:
        """Start the service."""
        with (self.root.parent / "service.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "nablahub.service", "--state-dir", self.root],
                stdout=log, stderr=log,
            )  # fmt: skip
        self._transport = Transport(
            f"http://{self.host}:{self.port}/services/nablahub", "token-of-alice"
        )
        self.hub = Hub(self._transport)
        until(self._answers, "the service answers")

    def kill(self) -> None:
        """Kill the service as the kernel would."""
        self.end(signal.SIGKILL)

    def end(self, number: int = signal.SIGTERM) -> None:
        """End the service; model servers go on."""
        if self._transport is not None:
            self._transport.close()
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None

    def close(self) -> None:
        """End everything; the namespace goes with the test run."""
        self.kubectl("delete", "pod,service", "-l", ENTRY, "--grace-period=1")
        self.end()
        self._fake.__exit__()

    def deploy(self, **fields: object) -> Deployment:
        """Deploy the model and wait for what comes of it."""
        spec = {"name": "iris", "model": f"iris:{self.versions[0]}", "instance_type": "C3"}
        made = self.hub.deployments.create(self.project, spec | fields)
        return self.wait(made.id)

    def wait(self, deployment_id: str) -> Deployment:
        """Wait for what comes of a deployment."""
        found: Deployment = self.hub.deployments.wait(deployment_id, seconds=240)
        return found

    def ask(self, found: Deployment, key: str) -> httpx.Response:
        """Ask for one prediction through the public address."""
        url = f"{found.endpoint}/v2/models/{found.model_name}/infer"
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(trust_env=False, timeout=20) as client:
            return client.post(url, json={"inputs": [ROW]}, headers=headers)

    def objects(self, *kinds: str) -> list[dict[str, Any]]:
        """What the cluster has of this hub."""

        async def ask() -> list[dict[str, Any]]:
            api = Api(self.settings)
            await api.connect()
            try:
                lists = [await api.list(kind, selector(self.settings.hub)) for kind in kinds]
            finally:
                await api.close()
            return [found for items, _ in lists for found in items]

        return asyncio.run(ask())

    def kubectl(
        self, *arguments: str, given: str | None = None, codes: tuple[int, ...] = (0,)
    ) -> str:
        """Run kubectl in the namespace and return what it printed."""
        where = (f"--kubeconfig={self.cluster.kubeconfig}", f"-n={self.cluster.namespace}")
        done = subprocess.run(
            ["kubectl", *where, *arguments],
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in codes, done.stdout + done.stderr
        return done.stdout

    def log(self) -> str:
        """What the service wrote."""
        return (self.root.parent / "service.log").read_text()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        try:
            return httpx.get(f"{self._url}/health", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    @property
    def _url(self) -> str:
        return f"http://{self.host}:{self.port}/services/nablahub"

    def _routed(self) -> bool:
        try:
            answer = httpx.get(f"{self.entry}/deployments/nonsuch", trust_env=False, timeout=5)
        except httpx.TransportError:
            return False
        return "no_deployment_there" in answer.text

    def _prepare(self) -> None:
        """Make a project with a model in two versions."""
        hub = self.hub
        self.project = hub.projects.create("flowers").id
        hub.datasets.create("iris-model", project=self.project)
        hub.models.create("iris", project=self.project)
        self.versions = []
        for seed in (1, 2):
            folder = self.root.parent / f"model-{seed}"
            folder.mkdir()
            graphs.classifier(folder / "model.onnx", seed=seed)
            version = hub.datasets.upload("iris-model", folder)
            made = hub.models.add_version("iris", version.ref, format="ONNX")
            self.versions.append(made.id.partition(":")[2])

    def _entry(self, token: str) -> str:
        """Start Traefik as the chart does, and return its address."""
        name = f"traefik-{self.settings.hub}"
        meta = {"name": name, "labels": {ENTRY: name}}
        routes = f"http://{self.host}:{self.port}/services/nablahub/api/v1/deployment-routes"
        container = {
            "name": "traefik", "image": self.cluster.image("traefik"), "imagePullPolicy": "Never",
            "args": [
                "--global.checkNewVersion=false", "--global.sendAnonymousUsage=false",
                "--entryPoints.http.address=:8000", "--providers.providersThrottleDuration=0s",
                f"--providers.http.endpoint={routes}", "--providers.http.pollInterval=1s",
                f"--providers.http.headers.Authorization=Bearer {token}",
            ],
        }  # fmt: skip
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta,
               "spec": {"containers": [container]}}  # fmt: skip
        service = {
            "apiVersion": "v1", "kind": "Service", "metadata": meta,
            "spec": {"selector": meta["labels"], "ports": [{"port": 80, "targetPort": 8000}]},
        }  # fmt: skip
        self.kubectl("create", "-f", "-", given=json.dumps(pod))
        self.kubectl("create", "-f", "-", given=json.dumps(service))
        made = json.loads(self.kubectl("get", "service", name, "-o", "json"))
        return f"http://{made['spec']['clusterIP']}"


@dataclass
class Load:
    """Predictions on kept-alive connections, as many a second as asked for, from some threads.

    Parameters
    ----------
    url, key : str
        The route of inference, and what opens it.
    rate : float
        Requests a second of all threads together.
    """

    url: str
    key: str
    rate: float = 60.0
    threads: int = 4
    versions: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def during(self, work: Callable[[], object]) -> None:
        """Send requests while something is done."""
        self._stop = threading.Event()
        senders = [threading.Thread(target=self._send) for _ in range(self.threads)]
        begun = time.monotonic()
        for sender in senders:
            sender.start()
        try:
            work()
        finally:
            self._stop.set()
            for sender in senders:
                sender.join()
            self.seconds = time.monotonic() - begun

    def _send(self) -> None:
        pause = self.threads / self.rate
        due = time.monotonic()
        headers = {"X-API-Key": self.key}
        # One connection; a request that is lost with it counts as lost: nothing is sent again.
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
        with httpx.Client(trust_env=False, timeout=20, headers=headers, limits=limits) as client:
            while not self._stop.is_set():
                try:
                    answer = client.post(self.url, json={"inputs": [ROW]})
                except httpx.TransportError as error:
                    self.faults.append(repr(error))
                    continue
                if answer.status_code == 200:
                    self.versions.append(answer.json()["model_version"])
                else:
                    self.faults.append(f"{answer.status_code}: {answer.text[:200]}")
                due += pause
                self._stop.wait(max(0.0, due - time.monotonic()))


def free_port(host: str) -> int:
    """Return a port that nobody listens on just now."""
    with socket.create_server((host, 0)) as sock:
        return int(sock.getsockname()[1])


def root_file(path: Path, text: str) -> Path:
    """Write a file and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
