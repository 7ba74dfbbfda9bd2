"""The chart on a real cluster: it comes up, answers, and keeps its data when it is changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.releases import NAME, Release, images, installed
from tests.cluster.target import Cluster
from tests.helm.charts import assemble
from tests.support.waiting import until

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


def test_traefik_fetches_the_routes_of_deployments(release: Release) -> None:
    python = ("exec", "deployment/nablahub-service", "--", "python", "-c")
    path = "/deployments/d1/services/nablahub/health"
    # The service itself says that there is none: Traefik found it by the routes.
    until(lambda: "no_deployment_there" in str(release.ask(path)[1]), "the service answers")
    release.kubectl(*python, ROUTE)
    until(lambda: release.ask(path)[0] == 200, "Traefik takes up the route")
    assert release.ask(path)[1]["status"] == "ok"


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

    release.upgrade(service={"settings": {"event_retention": 1234}}, traefik={"replicas": 2})
    settings = release.kubectl(
        "exec", "deployment/nablahub-service", "--", "cat", "/etc/nablahub/settings.json"
    )
    assert json.loads(settings)["event_retention"] == 1234
    after = release.kubectl("get", "pod", "-l", "app.kubernetes.io/component=service", "-o", "name")
    assert after != pod
    assert secret(release) == before
    assert [p["name"] for p in release.ask(f"{API}/projects", token=token)[1]["items"]] == ["kept"]
    budgets = json.loads(release.kubectl("get", "poddisruptionbudget", "-o", "json"))["items"]
    assert [b["metadata"]["name"] for b in budgets] == ["nablahub-traefik"]

    release.helm("rollback", NAME, "1", "--wait", "--timeout", "5m")
    settings = release.kubectl(
        "exec", "deployment/nablahub-service", "--", "cat", "/etc/nablahub/settings.json"
    )
    assert json.loads(settings)["event_retention"] == 100_000
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
