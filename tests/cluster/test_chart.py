"""The chart on a real cluster: it comes up, answers, and keeps its data when it is changed."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.releases import NAME, Release, images, installed
from tests.cluster.target import Cluster
from tests.helm.charts import assemble
from tests.support.waiting import until
from tests.unit.serving import graphs

API = "/services/nablahub/api/v1"


@pytest.fixture(scope="module")
def release(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    folder = tmp_path_factory.mktemp("release")
    values = {"service": {"storage": {"size": "1Gi"}}, **images(cluster)}
    with installed(cluster, assemble(folder), values, folder) as found:
        yield found


def secret(release: Release) -> dict[str, str]:
    """Return the Secret's data."""
    data: dict[str, str] = json.loads(
        release.kubectl("get", "secret", "nablahub", "-o", "json")
    )["data"]  # fmt: skip
    return data


def test_helm_test_passes(release: Release) -> None:
    said = release.helm("test", NAME, "--logs")
    assert "/services/nablahub/api/openapi.json answers" in said


def test_the_document_answers_through_the_public_entry(release: Release) -> None:
    status, document = release.ask("/services/nablahub/api/openapi.json")
    assert status == 200
    assert f"{API}/projects" in document["paths"]


def test_a_hub_token_opens_the_service(release: Release) -> None:
    status, who = release.ask(f"{API}/whoami", token=release.token_of("alice"))
    assert (status, who["name"]) == (200, "alice")
    assert release.ask(f"{API}/whoami")[0] == 401


#: In the service's pod: the file that rollouts write, with a route to the service itself.
ROUTE = """
from pathlib import Path
from nablahub.core.state import StateDir
from nablahub.deployments.routes import Backend, Route, build, write
route = Route("d1", main=(Backend(7, ("nablahub-service:8000",)),))
write(StateDir(Path("/srv/nablahub/state")).deployments_routes, build([route]))
"""


#: In the hub's pod: the process that keeps the limits of instance types.
CULLERS = """
import os, pathlib
for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if b"nablahub_hub.culler" in path.read_bytes() and int(path.parent.name) != os.getpid():
        print(path.parent.name)
"""


def test_the_limits_of_servers_are_kept_beside_a_hub_that_is_the_first_process(
    release: Release,
) -> None:
    def cullers() -> str:
        return release.kubectl("exec", "deployment/hub", "--", "python", "-c", CULLERS).strip()

    first = until(cullers, "it runs")
    release.ask("/hub/api/", token=release.admin_token)
    assert cullers() == first  # and has not ended since, to be begun again
    log = release.kubectl("logs", "deployment/hub")
    assert log.count("Starting service 'nablahub-idle-culler'") == 1


def test_traefik_fetches_the_routes_of_deployments(release: Release) -> None:
    python = ("exec", "deployment/nablahub-service", "--", "python", "-c")
    path = "/deployments/d1/services/nablahub/health"
    # The service itself says that there is none: Traefik found it by the routes.
    until(lambda: "no_deployment_there" in str(release.ask(path)[1]), "the service answers")
    release.kubectl(*python, ROUTE)
    until(lambda: release.ask(path)[0] == 200, "Traefik takes up the route")
    assert release.ask(path)[1]["status"] == "ok"


#: In the service's pod: a model of one file, deployed, with a key; the file comes as text.
DEPLOY = """
import base64, json, sys, tempfile
from pathlib import Path
from nablahub.client import Hub
from nablahub.core.transport import Transport
asked = json.load(sys.stdin)
hub = Hub(Transport("http://nablahub-traefik/services/nablahub", asked["token"]))
project = hub.projects.create("flowers").id
folder = Path(tempfile.mkdtemp())
(folder / "model.onnx").write_bytes(base64.b64decode(asked["model"]))
hub.datasets.create("iris-model", project=project)
version = hub.datasets.upload("iris-model", folder)
hub.models.create("iris", project=project)
hub.models.add_version("iris", version.ref, format="ONNX")
made = hub.deployments.create(project, {"name": "iris", "model": "iris", "instance_type": "C3"})
found = hub.deployments.wait(made.id, seconds=240)
key = hub.deployments.create_key(found.id, "test").key
print(json.dumps({"id": found.id, "state": found.state, "message": found.message, "key": key}))
"""
ROW = {"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [1.0, 2.0, 3.0, 4.0]}


def test_a_model_is_served_and_goes_on_without_the_service(
    release: Release, tmp_path: Path
) -> None:
    model = base64.b64encode(graphs.classifier(tmp_path / "model.onnx").read_bytes()).decode()
    token = release.token_of("erin")
    said = release.kubectl(
        "exec", "-i", "deployment/nablahub-service", "--", "python", "-c", DEPLOY,
        given=json.dumps({"token": token, "model": model}),
    )  # fmt: skip
    made = json.loads(said)
    assert made["state"] == "Running", made
    (pod,) = release.kubectl("get", "pod", "-l", "nablahub.org/server", "-o", "name").split()

    def answered() -> bool:
        path = f"/deployments/{made['id']}/v2/models/iris/infer"
        status, answer = release.ask(
            path, method="POST", token=made["key"], body={"inputs": [ROW]}, pod=pod
        )
        return status == 200 and answer["model_name"] == "iris"

    until(answered, "it answers", pause=0.2)

    def kept() -> bool:
        routes = release.kubectl("get", "configmap", "nablahub-routes", "-o", "json")
        return made["id"] in json.loads(routes)["data"]["deployments.yaml"]

    until(kept, "its route is kept", pause=0.2)
    # An upgrade leaves what the service keeps there.
    release.upgrade(service={"settings": {"event_retention": 4321}})
    assert kept()
    # A Traefik that starts while there is no service to be asked.
    release.kubectl("scale", "deployment/nablahub-service", "--replicas=0")
    release.kubectl("rollout", "restart", "deployment/nablahub-traefik")
    release.kubectl("rollout", "status", "deployment/nablahub-traefik", "--timeout=120s")
    until(answered, "it answers by the kept route", pause=0.2)
    release.kubectl("scale", "deployment/nablahub-service", "--replicas=1")
    release.kubectl("rollout", "status", "deployment/nablahub-service", "--timeout=120s")
    path = f"{API}/deployments/{made['id']}"

    def known() -> bool:
        status, answer = release.ask(path, token=token)
        return status == 200 and answer["state"] == "Running"

    until(known, "it is known again")
    assert release.ask(path, method="DELETE", token=token)[0] == 204
    left = ("get", "deployment,hpa,service,secret,pod", "-l", "component=job", "-o", "name")
    until(lambda: not release.kubectl(*left), "nothing of it is left", pause=0.2)


def test_routes_are_for_the_proxy(release: Release) -> None:
    token = release.kubectl(
        "exec", "deployment/nablahub-service", "--", "cat", "/etc/nablahub/tokens/proxy-token"
    )
    assert release.ask(f"{API}/deployment-routes", token=token)[0] == 200
    assert release.ask(f"{API}/deployment-routes", token=release.token_of("alice"))[0] == 404


def test_the_service_is_nobodys_root(release: Release) -> None:
    said = release.kubectl(
        "exec", "deployment/nablahub-service", "--", "sh", "-c", "id -u; touch /etc/x 2>&1 || true"
    )  # fmt: skip
    assert said.splitlines()[0] == "1000"
    assert "Read-only file system" in said


def test_a_job_runs_with_exactly_the_role_of_the_chart(release: Release) -> None:
    token = release.token_of("dave")
    _, project = release.ask(f"{API}/projects", method="POST", token=token, body={"name": "jobs"})
    spec = {
        "project_id": project["id"],
        "command": ["bash", "-c", "echo from a pod; echo kept > /artifacts/a.txt"],
        "instance_type": "C3",
    }
    status, job = release.ask(f"{API}/jobs", method="POST", token=token, body=spec)
    assert status == 201, job

    def ended() -> dict[str, Any] | None:
        now: dict[str, Any] = release.ask(f"{API}/jobs/{job['id']}", token=token)[1]
        return now if now["finished_at"] else None

    found = until(ended, "the job ends", seconds=240)
    assert found is not None
    assert (found["state"], found["exit_code"]) == ("Succeeded", 0), found
    assert release.ask(f"{API}/jobs/{job['id']}/logs", token=token)[1] == "from a pod\n"
    assert release.ask(f"{API}/jobs/{job['id']}", method="DELETE", token=token)[0] == 204

    def rest() -> bool:
        return not release.kubectl("get", "job,secret", "-l", "component=job", "-o", "name")

    until(rest, "nothing of the job is left", seconds=60)


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("get", "secrets"),
        ("create", "pods"),
        ("create", "pods/exec"),
        ("list", "nodes"),
        ("create", "rolebindings.rbac.authorization.k8s.io"),
    ],
)
def test_the_service_may_not(release: Release, verb: str, resource: str) -> None:
    who = f"--as=system:serviceaccount:{release.namespace}:nablahub-service"
    assert release.allowed(verb, resource, who) == "no"
    assert release.allowed("create", "jobs.batch", who) == "yes"


def test_upgrade_and_rollback_keep_data_and_tokens(release: Release) -> None:
    token = release.token_of("bob")
    status, made = release.ask(f"{API}/projects", method="POST", token=token, body={"name": "kept"})
    assert status == 201, made
    before = secret(release)
    pod = release.kubectl("get", "pod", "-l", "app.kubernetes.io/component=service", "-o", "name")

    settings = {"event_retention": 1234}
    release.upgrade(service={"settings": settings}, traefik={"replicas": 2}, listNodes=True)
    told = release.kubectl(
        "exec", "deployment/nablahub-service", "--", "cat", "/etc/nablahub/settings.json"
    )
    assert json.loads(told)["event_retention"] == 1234
    after = release.kubectl("get", "pod", "-l", "app.kubernetes.io/component=service", "-o", "name")
    assert after != pod
    assert secret(release) == before
    assert [p["name"] for p in release.ask(f"{API}/projects", token=token)[1]["items"]] == ["kept"]
    budgets = json.loads(release.kubectl("get", "poddisruptionbudget", "-o", "json"))["items"]
    assert [b["metadata"]["name"] for b in budgets] == ["nablahub-traefik"]
    who = f"--as=system:serviceaccount:{release.namespace}:nablahub-service"
    assert release.allowed("list", "nodes", who) == "yes"

    release.helm("rollback", NAME, "1", "--wait", "--timeout", "5m")
    told = release.kubectl(
        "exec", "deployment/nablahub-service", "--", "cat", "/etc/nablahub/settings.json"
    )
    assert json.loads(told)["event_retention"] == 100_000
    assert secret(release) == before
    assert [p["name"] for p in release.ask(f"{API}/projects", token=token)[1]["items"]] == ["kept"]


def test_uninstall_leaves_the_data(release: Release) -> None:
    """Last: it ends the release of this module, and installs it again."""
    token = release.token_of("carol")
    release.ask(f"{API}/projects", method="POST", token=token, body={"name": "survives"})
    release.helm("uninstall", NAME, "--wait")
    assert release.kubectl("get", "pvc", "nablahub-state", "-o", "name")
    release.upgrade()
    token = release.token_of("carol")
    names = [p["name"] for p in release.ask(f"{API}/projects", token=token)[1]["items"]]
    assert names == ["survives"]
