"""``nablahub up --runner kubernetes``: the hub here, the work on the cluster."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from kubernetes_asyncio import client
from ruamel.yaml import YAML

from nablahub.client import Hub
from nablahub.core import kubenames
from nablahub.core.transport import Transport
from nablahub.jobs.types import JobSpec
from nablahub_hub.local.config import LocalConfig
from tests.cluster.helper import own_address
from tests.cluster.target import Cluster
from tests.support.hub import RunningHub, run, running
from tests.support.waiting import until

JOBS = "/services/nablahub/api/v1/jobs"
CONFIG = """
import nablahub_hub

c = get_config()
c.NablaHub.kubernetes = {kubernetes!r}
nablahub_hub.install(c)
c.NablaKubeSpawner.image = {image!r}
c.NablaKubeSpawner.cpu_request_share = 0.05
c.NablaKubeSpawner.storage_capacity = "64Mi"
c.NablaKubeSpawner.team_storage_capacity = "64Mi"
c.NablaKubeSpawner.team_storage_access_modes = ["ReadWriteOnce"]
"""


def address(cluster: Cluster) -> str:
    """The address of this machine in the cluster's network."""
    given = YAML(typ="safe").load(cluster.kubeconfig)
    return own_address(given["clusters"][0]["cluster"]["server"])


def label(folder: Path) -> str:
    """The label of the hub of a folder."""
    return f"h{hashlib.sha256(str(folder).encode()).hexdigest()[:10]}"


def config(cluster: Cluster, folder: Path, **changes: Any) -> Path:
    """A configuration file for the test's own namespace and images."""
    kubernetes = {
        "namespace": cluster.namespace, "hub": label(folder),
        "image": cluster.image("runner"), "pull_policy": "Never", "cpu_request": 0.1,
        "storage_size": "64Mi", **changes,
    }  # fmt: skip
    path = folder / "jupyterhub_config.py"
    path.write_text(CONFIG.format(kubernetes=kubernetes, image=cluster.image("notebook")))
    return path


@contextmanager
def up(cluster: Cluster, folder: Path) -> Iterator[RunningHub]:
    words = ("--runner", "kubernetes", "--advertise", address(cluster))
    with running(folder / "state", config(cluster, folder), *words) as hub:
        yield hub


def doctor(
    cluster: Cluster, folder: Path, *words: str, kubeconfig: Path | None = None
) -> dict[str, Any]:
    """What `nablahub doctor` says of the cluster."""
    used = str(kubeconfig or cluster.kubeconfig)
    said = run("doctor", "--json", "--state-dir", str(folder / "state"), *words, KUBECONFIG=used)
    checks = [check for check in json.loads(said.stdout)["checks"] if check["name"] == "Cluster"]
    assert len(checks) == 1, said.stdout + said.stderr
    found: dict[str, Any] = checks[0]
    return found


def objects(cluster: Cluster) -> tuple[list[str], list[str]]:
    """Names of the pods and of the Jobs in the namespace."""

    async def ask() -> tuple[list[str], list[str]]:
        async with cluster.api() as api:
            pods = await client.CoreV1Api(api).list_namespaced_pod(cluster.namespace)
            jobs = await client.BatchV1Api(api).list_namespaced_job(cluster.namespace)
        return [p.metadata.name for p in pods.items], [j.metadata.name for j in jobs.items]

    return asyncio.run(ask())


def servers(cluster: Cluster) -> list[str]:
    """Names of what model servers have in the namespace beside their pods."""

    async def ask() -> list[str]:
        async with cluster.api() as api:
            core, apps = client.CoreV1Api(api), client.AppsV1Api(api)
            found = await asyncio.gather(
                apps.list_namespaced_deployment(cluster.namespace),
                core.list_namespaced_service(cluster.namespace),
                core.list_namespaced_secret(cluster.namespace),
            )
        return [each.metadata.name for made in found for each in made.items]

    return asyncio.run(ask())


def listening(hub: RunningHub) -> set[tuple[str, str]]:
    """Which of our parts listens at which address."""
    found = set()
    for name in ("hub", "service", "traefik"):
        for connection in hub.part(name).net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN:
                found.add((name, connection.laddr.ip))
    return found


def test_the_hub_runs_here_and_the_work_there(cluster: Cluster, tmp_path: Path) -> None:
    here = address(cluster)
    with up(cluster, tmp_path) as hub:
        assert listening(hub) == {("hub", here), ("service", here), ("traefik", "127.0.0.1")}
        local = LocalConfig.load(hub.state)
        assert local is not None
        # What pods can reach wants a token.
        for url in (f"{local.hub_url}/hub/api/users", f"{local.service_url}{JOBS}"):
            assert httpx.get(url, trust_env=False).status_code in (401, 403)

        owner = local.owner
        with closing(sign_in(hub)) as signed_in:
            page = signed_in.get(f"/hub/spawn/{owner}").text
            assert 'value="C3"' in page
            form = {"instance_type": "C3", "_xsrf": signed_in.cookies["_xsrf"]}
            signed_in.post(f"/hub/spawn/{owner}", data=form)
            token = json.loads(hub.state.client.read_text())["token"]
            hub.await_server(owner, token)
            # Signed in at the server as well: it asks the hub who somebody is, from its pod.
            assert "JupyterLab" in signed_in.get(f"/user/{owner}/lab").text
            pod = kubenames.server(label(tmp_path), owner, "")
            assert pod in objects(cluster)[0]

        nabla = Hub(Transport(hub.service_url, token, tries=1))
        project = nabla.projects.create("work").id
        spec = {"project_id": project, "instance_type": "C3"}
        job = nabla.jobs.submit(JobSpec(**spec, command=["sh", "-c", "hostname; exit 3"]))
        ended = nabla.jobs.wait(job.id)
        assert (ended.state, ended.exit_code) == ("Failed", 3), ended.message
        assert nabla.jobs.log(job.id).startswith("task-")  # the pod's name

        left = nabla.jobs.submit(JobSpec(**spec, command=["sleep", "600"]))
        until(lambda: nabla.jobs.get(left.id).state == "Running", "the second job runs", pause=0.1)
        told = doctor(cluster, tmp_path)
        assert told["ok"], told
        assert here in told["detail"]
        nabla.close()
    # Down is down: no server, no job is left there, and the job's end is known.
    until(lambda: objects(cluster) == ([], []), "everything in the cluster is gone", pause=0.5)
    with up(cluster, tmp_path) as hub:
        token = json.loads(hub.state.client.read_text())["token"]
        with Hub(Transport(hub.service_url, token, tries=1)) as nabla:
            ended = nabla.jobs.wait(left.id)
            assert (ended.state, ended.message) == ("Stopped", "NablaHub was shut down.")


@pytest.mark.timeout(600)
def test_the_demo_goes_from_data_to_a_prediction(cluster: Cluster, tmp_path: Path) -> None:
    own = config(cluster, tmp_path, images={"serving": cluster.image("serving")})
    state = tmp_path / "state"
    others = servers(cluster)
    said = run(
        "demo", "--exit", "--json", "--port", "0", "--state-dir", str(state), "--config", str(own),
        "--runner", "kubernetes", "--advertise", address(cluster),
        KUBECONFIG=str(cluster.kubeconfig), timeout=540,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr + said.stdout
    told = json.loads(said.stdout.splitlines()[-1])
    assert told["prediction"]["label"] == [0]
    assert told["model_version"]
    assert told["output_version"]
    until(lambda: objects(cluster) == ([], []), "everything in the cluster is gone", pause=0.5)
    assert set(servers(cluster)) <= set(others)


def sign_in(hub: RunningHub) -> httpx.Client:
    """A browser's client that has followed the one-time link."""
    made = httpx.Client(base_url=hub.url, follow_redirects=True, trust_env=False, timeout=60)
    answer = made.get(urlsplit(hub.told["sign_in"]).path)
    assert answer.status_code == 200, answer.text
    return made


def test_a_cluster_that_cannot_be_used_is_told_in_a_sentence(
    cluster: Cluster, tmp_path: Path
) -> None:
    here = address(cluster)
    words = ("--runner", "kubernetes")
    advertised = (*words, "--advertise", here)

    told = doctor(cluster, tmp_path, *words)
    assert "pods must reach this machine" in told["detail"]
    assert f"--advertise {here}" in told["hint"]

    told = doctor(cluster, tmp_path, *words, "--advertise", "203.0.113.9")
    assert told["detail"].startswith("203.0.113.9 is not an address of this machine")
    assert here in told["hint"]

    told = doctor(cluster, tmp_path, *advertised, kubeconfig=Path("/nonsuch"))
    assert "There is no file /nonsuch" in told["detail"]

    given = YAML(typ="safe").load(cluster.kubeconfig)
    given["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    refusing = tmp_path / "refusing"
    refusing.write_text(json.dumps(given))
    told = doctor(cluster, tmp_path, *advertised, kubeconfig=refusing)
    assert "does not answer" in told["detail"]
    assert "127.0.0.1:9" in told["detail"]

    own = config(cluster, tmp_path, cpu_request=1)
    own.write_text("c.NablaHub.default_instance_type = 'A100x8'\n" + own.read_text())
    told = doctor(cluster, tmp_path, *advertised, "--config", str(own))
    assert told["ok"], told
    assert "no node can ever run a job of A100x8, the default. Needs 8 × A100" in told["detail"]

    own = config(cluster, tmp_path, image="localhost/nablahub-nonsuch:1")
    told = doctor(cluster, tmp_path, *advertised, "--config", str(own))
    assert "The image localhost/nablahub-nonsuch:1 is not on the node" in told["detail"]

    own = config(cluster, tmp_path, namespace="nablahub-nonsuch")
    told = doctor(cluster, tmp_path, *advertised, "--config", str(own))
    assert told["detail"] == "The cluster has no namespace nablahub-nonsuch."
    assert "kubectl create namespace nablahub-nonsuch" in told["hint"]

    assert objects(cluster)[0] == []


def test_missing_rights_are_told_by_their_verbs(cluster: Cluster, tmp_path: Path) -> None:
    lesser = asyncio.run(account(cluster, tmp_path, verbs=["get", "list", "watch", "create"]))
    said = run(
        "up", "--state-dir", str(tmp_path / "state"), "--port", "0", "--json",
        "--runner", "kubernetes", "--advertise", address(cluster),
        "--config", str(config(cluster, tmp_path)), KUBECONFIG=str(lesser),
    )  # fmt: skip
    assert said.returncode == 1
    detail = json.loads(said.stdout)["error"]["detail"]
    assert "delete jobs; delete persistentvolumeclaims; create, delete, list pod" in detail
    assert "delete, patch pods; " in detail
    assert f"In the namespace {cluster.namespace} the account of {lesser} may not" in detail
    # Nothing was started.
    assert not list((tmp_path / "state" / "logs").glob("*.log"))


@contextmanager
def address_of_a_pod(cluster: Cluster) -> Iterator[str]:
    """While the block runs, this machine has an address that is, for all pods, one of them."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("only root may give this machine another address")
    found = f"{asyncio.run(sleeping_pod(cluster))}/32"
    subprocess.run(["ip", "address", "add", found, "dev", "lo"], check=True)
    try:
        yield found.removesuffix("/32")
    finally:
        subprocess.run(["ip", "address", "del", found, "dev", "lo"], check=True)


async def sleeping_pod(cluster: Cluster) -> str:
    """Make a pod that listens to nobody; return its address."""
    container = client.V1Container(
        name="main", image=cluster.image("runner"), image_pull_policy="Never",
        command=["sleep", "600"],
    )  # fmt: skip
    spec = client.V1PodSpec(containers=[container], termination_grace_period_seconds=1)
    pod = client.V1Pod(metadata=client.V1ObjectMeta(name="sleeper"), spec=spec)
    async with cluster.api() as api:
        core = client.CoreV1Api(api)
        await core.create_namespaced_pod(cluster.namespace, pod)
        while (await core.read_namespaced_pod("sleeper", cluster.namespace)).status.pod_ip is None:
            await asyncio.sleep(0.1)
        return str((await core.read_namespaced_pod("sleeper", cluster.namespace)).status.pod_ip)


def test_pods_that_do_not_reach_us_are_told(cluster: Cluster, tmp_path: Path) -> None:
    words = ("--runner", "kubernetes", "--config", str(config(cluster, tmp_path)), "--advertise")
    with address_of_a_pod(cluster) as wrong:
        told = doctor(cluster, tmp_path, *words, wrong)
    assert told["detail"].startswith(f"Pods do not reach {wrong}:")
    assert "where the hub of this machine listens" in told["detail"]
    said = run("doctor", "--json", *words, "127.0.0.1")
    assert "is an IPv4 address of this machine that pods reach" in said.stdout


async def account(cluster: Cluster, folder: Path, verbs: list[str]) -> Path:
    """A kubeconfig of an account that may do only so much in the namespace."""
    groups = [""], ["batch"]
    async with cluster.api() as api:
        core, rbac = client.CoreV1Api(api), client.RbacAuthorizationV1Api(api)
        meta = client.V1ObjectMeta(name="lesser")
        await core.create_namespaced_service_account(
            cluster.namespace, client.V1ServiceAccount(metadata=meta)
        )
        rules = [
            client.V1PolicyRule(api_groups=group, resources=["*"], verbs=verbs) for group in groups
        ]
        await rbac.create_namespaced_role(
            cluster.namespace, client.V1Role(metadata=meta, rules=rules)
        )
        subject = client.RbacV1Subject(
            kind="ServiceAccount", name="lesser", namespace=cluster.namespace
        )
        role = client.V1RoleRef(api_group="rbac.authorization.k8s.io", kind="Role", name="lesser")
        await rbac.create_namespaced_role_binding(
            cluster.namespace,
            client.V1RoleBinding(metadata=meta, role_ref=role, subjects=[subject]),
        )
        asked = client.AuthenticationV1TokenRequest(
            spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=3600)
        )
        made = await core.create_namespaced_service_account_token(
            "lesser", cluster.namespace, asked
        )
    given = YAML(typ="safe").load(cluster.kubeconfig)
    given["users"] = [{"name": given["contexts"][0]["context"]["user"],
                       "user": {"token": made.status.token}}]  # fmt: skip
    path = folder / "lesser"
    path.write_text(json.dumps(given))
    return path
