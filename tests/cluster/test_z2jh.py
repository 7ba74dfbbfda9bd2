"""The whole release with the real zero-to-jupyterhub: sign in, get a server, run the showcase.

``NABLAHUB_Z2JH_CHART`` names the folder of that chart (``jupyterhub/`` in its repository). Where
the cluster cannot pull its image of configurable-http-proxy, ``NABLAHUB_Z2JH_PROXY_IMAGE`` names
another one, such as the one built from tests/cluster/proxy. Servers run our notebook image.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.releases import NAME, Release, images, installed, merged, split
from tests.cluster.target import Cluster
from tests.helm.charts import assemble
from tests.support.waiting import until

pytestmark = pytest.mark.z2jh

API = "/services/nablahub/api/v1"
PASSWORD = "of the tests"
#: What people type, in this test: the public entry as the cluster's own name service knows it.
ENTRY = "http://nablahub-traefik"
#: The Python of JupyterLab in our notebook image.
PYTHON = "/opt/nablahub/server/bin/python"
#: What the chart would pull and the test has no need of; no node is one that it may change.
WITHOUT: dict[str, Any] = {
    "prePuller": {"hook": {"enabled": False}, "continuous": {"enabled": False}},
    "scheduling": {"userScheduler": {"enabled": False}, "userPlaceholder": {"enabled": False}},
    "singleuser": {"cloudMetadata": {"blockWithIptables": False}},
}


#: Nodes of tests are small, and their storage is one node's.
SMALL = """
c.NablaKubeSpawner.cpu_request_share = 0.05
c.NablaKubeSpawner.storage_capacity = "64Mi"
c.NablaKubeSpawner.team_storage_capacity = "64Mi"
c.NablaKubeSpawner.team_storage_access_modes = ["ReadWriteOnce"]
"""


#: Seconds without activity after which that chart's culler, which we did not write, stops servers.
IDLE = 5400


def values(cluster: Cluster) -> dict[str, Any]:
    """Return the values of a small release."""
    found: dict[str, Any] = {
        "hub": {
            "config": {
                "JupyterHub": {"authenticator_class": "dummy"},
                "DummyAuthenticator": {"password": PASSWORD},
                "Authenticator": {"allow_all": True},
            },
            "extraConfig": {"60-tests": SMALL},
        },
        "singleuser": {"image": split(cluster.image("notebook"))},
    }
    proxy = os.environ.get("NABLAHUB_Z2JH_PROXY_IMAGE")
    if proxy:
        found["proxy"] = {"chp": {"image": split(proxy)}}
    return {"jupyterhub": {**merged(WITHOUT, found), "cull": {"timeout": IDLE}}}


@pytest.fixture(scope="module")
def release(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    given = os.environ.get("NABLAHUB_Z2JH_CHART", "")
    if not given:
        pytest.skip("no zero-to-jupyterhub: NABLAHUB_Z2JH_CHART names no folder")
    folder = tmp_path_factory.mktemp("release")
    chart = assemble(folder, Path(given))
    ours = {"publicUrl": ENTRY, "service": {"storage": {"size": "1Gi"}}, **images(cluster)}
    ours["jupyterhub"] = {"hub": ours["jupyterhub"]["hub"]}
    with installed(cluster, chart, merged(ours, values(cluster)), folder) as found:
        yield found


def test_helm_test_passes(release: Release) -> None:
    assert "/services/nablahub/api/openapi.json answers" in release.helm("test", NAME, "--logs")


#: In a pod: the sign-in page's form, as a browser sends it.
SIGN_IN = """
import http.cookiejar, json, re, sys, urllib.parse, urllib.request
jar = http.cookiejar.CookieJar()
browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
entry = "http://nablahub-traefik"
page = browser.open(entry + "/hub/login?next=%2Fhub%2Fhome").read().decode()
token = re.search(r'name="_xsrf"[^>]*value="([^"]+)"', page)[1]
form = {"username": "dora", "password": sys.argv[1], "_xsrf": token}
sent = urllib.parse.urlencode(form).encode()
answer = browser.open(entry + "/hub/login?next=%2Fhub%2Fhome", sent)
print(json.dumps([answer.status, answer.url, sorted(c.name for c in jar)]))
"""


def test_a_person_signs_in_through_the_public_entry(release: Release) -> None:
    out = release.kubectl(
        "exec", "deployment/nablahub-service", "--", "python", "-c", SIGN_IN, PASSWORD
    )
    status, place, cookies = json.loads(out)
    assert status == 200
    assert place.endswith("/hub/home")
    assert "jupyterhub-session-id" in cookies


@dataclass
class Server:
    """The single-user server of a user who began from nothing."""

    release: Release
    token: str
    pod: str

    def python(self, code: str) -> Any:
        """Run Python where the server runs, and return the JSON that it prints last."""
        said = self.release.kubectl("exec", self.pod, "--", PYTHON, "-c", code)
        return json.loads(said.splitlines()[-1])


@pytest.fixture(scope="module")
def server(release: Release) -> Server:
    token = release.token_of("erin")
    users = "/hub/api/users/erin"
    status, said = release.ask(
        f"{users}/server", method="POST", token=release.admin_token, body={"instance_type": "C3"}
    )
    assert status in (201, 202), said

    def ready() -> bool:
        _, user = release.ask(users, token=release.admin_token)
        return bool(user["servers"].get("", {}).get("ready"))

    until(ready, "the server is ready", seconds=240)
    pod = release.kubectl(
        "get", "pod", "-l", "app.kubernetes.io/component=singleuser-server", "-o", "name"
    ).strip()
    return Server(release, token, pod)


#: In the user's own server: the client, with what the server's environment says.
FROM_SERVER = """
import json, os
import nablahub
made = nablahub.connect().projects.create("from-a-server")
storage = os.path.ismount("/storage")
print(json.dumps({"id": made.id, "name": made.name, "storage": storage}))
"""


def test_a_server_starts_and_reaches_the_service(release: Release, server: Server) -> None:
    assert release.ask("/user/erin/api/status", token=server.token)[0] == 200
    made = server.python(FROM_SERVER)
    assert (made["name"], made["storage"]) == ("from-a-server", True)
    mine = release.ask(f"{API}/projects", token=server.token)[1]["items"]
    assert [project["id"] for project in mine] == [made["id"]]
    assert release.ask(f"{API}/projects", token=release.token_of("frank"))[1]["items"] == []


def test_the_server_is_of_the_instance_type_that_was_chosen(
    release: Release, server: Server
) -> None:
    pod = json.loads(release.kubectl("get", server.pod, "-o", "json"))
    (container,) = pod["spec"]["containers"]
    limits = container["resources"]["limits"]
    assert (limits["cpu"], pod["spec"]["automountServiceAccountToken"]) == ("2", False)
    assert container["image"] == release.cluster.image("notebook")


def test_a_server_tells_when_the_charts_culler_will_stop_it(
    release: Release, server: Server
) -> None:
    status, told = release.ask("/user/erin/nablahub/limits", token=server.token)
    idle = [stop for stop in told["stops"] if stop["reason"] == "idle"]
    assert (status, [stop["limit_seconds"] for stop in idle]) == (200, [IDLE])


#: The showcase, by the client alone, as its user would.
SHOWCASE = """
import json, tempfile
from pathlib import Path
import nablahub
from nablahub import showcase
hub = nablahub.connect()
project = hub.projects.ensure(showcase.PROJECT).id
dataset = hub.datasets.ensure(showcase.DATASET, project=project)
with tempfile.TemporaryDirectory() as folder:
    showcase.write_dataset(Path(folder), Path("/opt/nablahub/environments/default"))
    hub.datasets.upload(dataset.id, Path(folder))
made = hub.workflows.apply(
    project, showcase.workflow_yaml(), files=showcase.workflow_files(), name=showcase.WORKFLOW
)
run = hub.workflows.wait(hub.workflows.start(made.id))
jobs = {job.name: [job.state, job.message] for job in run.jobs}
model = next((o.ref for o in run.outputs.values() if o.kind == "model"), None)
found = {"state": run.state, "message": run.message, "jobs": jobs, "model": model}
if model is not None:
    spec = {"name": showcase.DEPLOYMENT, "model": model, "sample": showcase.sample()}
    served = hub.deployments.wait(hub.deployments.apply(project, spec).id)
    found |= {"served": served.state, "said": served.message, "endpoint": served.endpoint}
if found.get("served") == "Running":
    key = hub.deployments.create_key(served.id, "test").key
    answer = hub.deployments.predict(served, key, showcase.sample())
    found["labels"] = {o["name"]: o["data"] for o in answer["outputs"]}["label"]
print(json.dumps(found))
"""


def test_the_showcase_goes_from_data_to_a_prediction(server: Server) -> None:
    found = server.python(SHOWCASE)
    assert found["state"] == "Succeeded", found
    assert found["served"] == "Running", found
    assert found["endpoint"].startswith(f"{ENTRY}/deployments/")
    assert found["labels"] == [0]
