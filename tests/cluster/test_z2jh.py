"""The whole release with the real zero-to-jupyterhub: sign in, get a server, run the showcase.

``NABLAHUB_Z2JH_CHART`` names the folder of that chart (``jupyterhub/`` in its repository). Where
the cluster cannot pull its image of configurable-http-proxy, ``NABLAHUB_Z2JH_PROXY_IMAGE`` names
another one, such as the one built from tests/cluster/proxy. Servers run our notebook image.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
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
    return {"jupyterhub": merged(WITHOUT, found)}


@pytest.fixture(scope="module")
def release(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    given = os.environ.get("NABLAHUB_Z2JH_CHART", "")
    if not given:
        pytest.skip("no zero-to-jupyterhub: NABLAHUB_Z2JH_CHART names no folder")
    folder = tmp_path_factory.mktemp("release")
    chart = assemble(folder, Path(given))
    ours = {"service": {"storage": {"size": "1Gi"}}, **images(cluster)}
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


#: In the user's own server: the client, with what the server's environment says.
FROM_SERVER = """
import json, os, urllib.request
url = os.environ["NABLAHUB_URL"] + "/api/v1/projects"
headers = {"Authorization": "Bearer " + os.environ["JUPYTERHUB_API_TOKEN"],
           "Content-Type": "application/json"}
body = json.dumps({"name": "from-a-server"}).encode()
with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
    print(answer.read().decode())
"""


def test_a_server_starts_and_reaches_the_service(release: Release) -> None:
    token = release.token_of("erin")
    users = "/hub/api/users/erin"
    status, said = release.ask(f"{users}/server", method="POST", token=release.admin_token)
    assert status in (201, 202), said

    def ready() -> bool:
        _, user = release.ask(users, token=release.admin_token)
        return bool(user["servers"].get("", {}).get("ready"))

    until(ready, "the server is ready", seconds=240)
    assert release.ask("/user/erin/api/status", token=token)[0] == 200

    pod = release.kubectl(
        "get", "pod", "-l", "app.kubernetes.io/component=singleuser-server", "-o", "name"
    ).strip()
    made = json.loads(release.kubectl("exec", pod, "--", "python3", "-c", FROM_SERVER))
    assert made["name"] == "from-a-server"
    mine = release.ask(f"{API}/projects", token=token)[1]["items"]
    assert [project["id"] for project in mine] == [made["id"]]
    assert release.ask(f"{API}/projects", token=release.token_of("frank"))[1]["items"] == []
