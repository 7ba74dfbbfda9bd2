"""A release of the chart in a namespace of its own, and requests to it from inside the cluster."""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster.target import Cluster
from tests.helm.charts import helm, write
from tests.support.waiting import until

NAME = "nablahub"
#: Long enough for images that have to be loaded first.
TIMEOUT = "5m"


@dataclass
class Release:
    """An installed chart.

    Parameters
    ----------
    cluster : Cluster
        Where it is; only its kubeconfig is used.
    namespace : str
        Its own.
    admin_token : str
        The hub's token of a service that may administer users.
    """

    cluster: Cluster
    chart: Path
    values: dict[str, Any]
    folder: Path
    namespace: str = field(default_factory=lambda: f"nablahub-chart-{secrets.token_hex(4)}")
    admin_token: str = field(default_factory=lambda: secrets.token_hex(32))

    def helm(self, *arguments: str | Path) -> str:
        """Run helm in the release's namespace."""
        return helm(*arguments, "--namespace", self.namespace, kubeconfig=self.cluster.kubeconfig)

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """Run kubectl in the release's namespace and return what it printed."""
        where = (f"--kubeconfig={self.cluster.kubeconfig}", f"--namespace={self.namespace}")
        done = subprocess.run(
            ["kubectl", *where, *arguments],
            input=given, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def allowed(self, verb: str, resource: str, who: str) -> str:
        """Return ``yes`` or ``no``."""
        where = (f"--kubeconfig={self.cluster.kubeconfig}", f"--namespace={self.namespace}")
        done = subprocess.run(
            ["kubectl", *where, "auth", "can-i", verb, resource, who],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout.strip()

    def upgrade(self, **changed: Any) -> None:
        """Install it, or upgrade it to changed values, and wait until everything is ready."""
        administrator = {
            "services": {"tests": {"apiToken": self.admin_token}},
            "loadRoles": {
                "tests": {
                    "scopes": ["admin:users", "tokens", "admin:servers", "access:servers"],
                    "services": ["tests"],
                }
            },
        }
        values = merged(self.values, {"jupyterhub": {"hub": administrator}}, changed)
        file = write(self.folder / "values.json", values)
        self.helm(
            "upgrade", NAME, self.chart, "--install", "--create-namespace", "--values", file,
            "--wait", "--timeout", TIMEOUT,
        )  # fmt: skip

    def remove(self) -> None:
        """Delete the namespace and wait until it is gone."""
        with contextlib.suppress(AssertionError):
            self.kubectl("delete", "namespace", self.namespace, "--wait=false")

    @property
    def url(self) -> str:
        """The public entry, as the cluster's own address of it."""
        found = json.loads(self.kubectl("get", "service", "nablahub-traefik", "-o", "json"))
        return f"http://{found['spec']['clusterIP']}:{found['spec']['ports'][0]['port']}"

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        token: str = "",
        body: Any = None,
        pod: str = "deployment/nablahub-service",
    ) -> tuple[int, Any]:
        """Send a request to the public entry from a pod of the release; return status and JSON."""
        asked = {"path": path, "method": method, "token": token, "body": body}
        out = self.kubectl(
            "exec", "-i", pod, "--", "python3", "-c", ASK, given=json.dumps(asked)
        )  # fmt: skip
        status, text = json.loads(out)
        with contextlib.suppress(ValueError):
            text = json.loads(text)
        return status, text

    def token_of(self, user: str) -> str:
        """Make a user, if there is none, and a token of theirs."""
        path = f"/hub/api/users/{user}"

        def known() -> bool:
            # A hub that is ready may not have its route yet.
            return self.ask(path, method="POST", token=self.admin_token)[0] in (201, 409)

        until(known, f"the hub knows {user}", seconds=60)
        status, made = self.ask(f"{path}/tokens", method="POST", token=self.admin_token, body={})
        assert status == 201, made
        return str(made["token"])


#: Runs in a pod, since a test need not be able to reach the addresses of a cluster.
ASK = """
import json, sys, urllib.error, urllib.request
asked = json.load(sys.stdin)
headers = {"Content-Type": "application/json"}
if asked["token"]:
    headers["Authorization"] = "Bearer " + asked["token"]
data = None if asked["body"] is None else json.dumps(asked["body"]).encode()
request = urllib.request.Request(
    "http://nablahub-traefik" + asked["path"], data=data, headers=headers, method=asked["method"]
)
try:
    with urllib.request.urlopen(request, timeout=60) as answer:
        found = answer.status, answer.read().decode()
except urllib.error.HTTPError as error:
    found = error.code, error.read().decode()
print(json.dumps(found))
"""


def merged(*values: dict[str, Any]) -> dict[str, Any]:
    """Return values laid over each other, maps within maps."""
    whole: dict[str, Any] = {}
    for layer in values:
        for name, value in layer.items():
            old = whole.get(name)
            both = isinstance(old, dict) and isinstance(value, dict)
            whole[name] = merged(old or {}, value) if both else value
    return whole


def split(image: str) -> dict[str, str]:
    """Return an image's reference as the charts' values have it."""
    name, _, tag = image.rpartition(":")
    return {"name": name, "tag": tag, "pullPolicy": "IfNotPresent"}


def images(cluster: Cluster) -> dict[str, Any]:
    """Return the values that name the images built for the tests, for the stand-in too."""
    traefik = split(cluster.image("traefik"))
    return {
        "jobs": {
            "image": split(cluster.image("runner")),
            "images": {"serving": cluster.image("serving")},
            # Nodes of tests are small.
            "cpuRequest": 0.1,
            "storage": {"teamSize": "1Gi"},
        },
        "traefik": {"image": traefik},
        "jupyterhub": {
            "hub": {"image": split(cluster.image("hub"))},
            "proxy": {"chp": {"image": traefik}},
        },
    }


@contextlib.contextmanager
def installed(
    cluster: Cluster, chart: Path, values: dict[str, Any], folder: Path
) -> Iterator[Release]:
    """Install the chart for the length of a ``with``."""
    release = Release(cluster, chart, values, folder)
    try:
        release.upgrade()
        yield release
    finally:
        release.remove()
