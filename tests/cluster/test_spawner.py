"""Servers as pods, by a real hub on a real cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kubernetes_asyncio import client
from kubernetes_asyncio.client import ApiException

from nablahub.core import kubenames
from tests.cluster.conftest import namespace
from tests.cluster.hubs import Browser, kube_hub
from tests.cluster.target import Cluster
from tests.support.hub import RunningHub
from tests.support.kernel import code
from tests.support.waiting import until

RESOURCE = "nablahub.org/test-gpu"
TYPES: dict[str, object] = {
    "tiny": {"cpus": 1, "memory_gib": 0.75},
    "rare": {
        "cpus": 1, "memory_gib": 0.75, "gpu": "V9000", "gpus": 1, "gpu_resource": RESOURCE,
    },
    "huge": {"cpus": 4096, "memory_gib": 1},
    "elsewhere": {"cpus": 1, "memory_gib": 1, "node_selector": {"nablahub.org/none": "here"}},
}  # fmt: skip
#: What goes wrong, by the name of the user it goes wrong for, and what they are told.
WRONG: dict[str, tuple[str, tuple[str, str], str]] = {
    "ida": ("tiny", ("image", "localhost/nowhere:1"), "is not on the node"),
    "ivo": ("tiny", ("image", "Not An Image"), "is no name of an image"),
    "kit": ("tiny", ("cmd", "['/bin/nothing']"), "container cannot be made"),
    "lea": ("tiny", ("cmd", "['/bin/sh', '-c', 'exit 7']"), "with exit code 7"),
    "max": ("tiny", ("storage_class", "nowhere"), "storage cannot be made"),
    "noa": ("tiny", ("env_secrets", "['nowhere']"), "nowhere"),
    "uma": ("huge", ("debug", "False"), "Needs 4096 CPUs; the largest node has"),
    "vic": ("elsewhere", ("debug", "False"), "No node of the cluster is labelled"),
}
MORE = f"""
WRONG = {WRONG!r}
c.Authenticator.allowed_users |= set(WRONG) | {{"wim"}}
c.JupyterHub.load_groups = {{"Blue Team": {{"users": ["alice", "bob"]}}}}

def go_wrong(spawner):
    if spawner.user.name in WRONG:
        name, value = WRONG[spawner.user.name][1]
        spawner.set_trait(name, eval(value) if value[0] in "[F" else value)

c.NablaKubeSpawner.pre_spawn_hook = go_wrong
"""


@pytest.fixture(scope="module")
def cluster(cluster: Cluster) -> Iterator[Cluster]:
    """A namespace whose quota counts nobody else's pods."""
    with namespace(cluster.kubeconfig) as own:
        yield own


@pytest.fixture(scope="module")
def hub(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with kube_hub(cluster, tmp_path_factory.mktemp("kube"), TYPES, MORE) as running:
        yield running


def on[T](cluster: Cluster, work: Callable[[client.CoreV1Api], Awaitable[T]]) -> T:
    """Return what some work with the cluster's API gives."""

    async def run() -> T:
        async with cluster.api() as api:
            return await work(client.CoreV1Api(api))

    return asyncio.run(run())


def pods(cluster: Cluster) -> list[str]:
    found = on(cluster, lambda api: api.list_namespaced_pod(cluster.namespace))
    return [pod.metadata.name for pod in found.items]


def test_a_user_signs_in_and_gets_a_server_that_runs_cells(hub: RunningHub) -> None:
    with Browser(hub, "alice") as browser:
        assert 'value="tiny"' in browser.get("/hub/spawn/alice").text
        browser.choose("tiny")
        said = [str(event.get("message")) for event in browser.events()]
        assert any("Server ready" in words for words in said), said
        assert "JupyterLab" in browser.get("/user/alice/lab").text
    server = hub.spawn("alice")
    assert code(server, "print(6 * 7)") == "42\n"
    # our server extension passes on, to the service, as the user
    teams = server.request("GET", "/nablahub/api/teams").json()["items"]
    assert {team["name"] for team in teams} == {"alice", "Blue Team"}


def test_a_server_is_nobody_in_particular_and_sees_what_it_should(hub: RunningHub) -> None:
    server = hub.spawn("alice", instance_type="tiny")
    printed = server.shell(
        "id -u; pwd; grep -E 'CapBnd|NoNewPrivs|Seccomp:' /proc/self/status | tr -d '\\t';"
        "ls /var/run/secrets 2>&1; ls /teams;"
        "for place in /storage /teams/*; do touch $place/file && echo written; done;"
        "df --output=size -m /dev/shm | tail -1"
    )
    assert printed.splitlines()[:5] == [
        "1000", "/home/alice", "CapBnd:0000000000000000", "NoNewPrivs:1", "Seccomp:2",
    ]  # fmt: skip
    assert "No such file" in printed
    assert kubenames.folder("Blue Team") in printed
    assert printed.count("written") == 2
    assert "384" in printed


def test_tokens_lie_in_a_secret_that_goes_with_the_pod(hub: RunningHub, cluster: Cluster) -> None:
    hub.spawn("alice", instance_type="tiny")
    name = kubenames.server("nablahub", "alice", "")
    pod = on(cluster, lambda api: api.read_namespaced_pod(name, cluster.namespace))
    secret = on(cluster, lambda api: api.read_namespaced_secret(name, cluster.namespace))
    env = {variable.name for variable in pod.spec.containers[0].env}
    assert not env & set(secret.data)
    assert "JUPYTERHUB_API_TOKEN" in secret.data
    assert secret.metadata.owner_references[0].uid == pod.metadata.uid


def test_home_survives_and_belongs_to_one_user(hub: RunningHub, cluster: Cluster) -> None:
    server = hub.spawn("alice", instance_type="tiny")
    server.shell("echo mine > ~/kept; cd /teams/*; echo ours > shared")
    server.stop()
    name = kubenames.server("nablahub", "alice", "")
    assert name not in pods(cluster)
    with pytest.raises(ApiException, match="404"):
        on(cluster, lambda api: api.read_namespaced_secret(name, cluster.namespace))
    assert hub.spawn("alice", instance_type="tiny").shell("cat ~/kept").strip() == "mine"
    other = hub.spawn("bob", instance_type="tiny")
    seen = other.shell("ls -A ~ /storage | grep -c kept; ls /home; cat /teams/*/shared").split()
    assert seen == ["0", "bob", "nablahub", "ours"]
    other.stop()


@pytest.mark.parametrize("user", WRONG)
def test_what_can_never_start_says_so_on_its_page(
    hub: RunningHub, cluster: Cluster, user: str
) -> None:
    kind, _, words = WRONG[user]
    with Browser(hub, user) as browser:
        page = browser.choose(kind)
        if "progress" in page.text:  # it was not over within a second: the page follows its events
            last: dict[str, Any] = list(browser.events())[-1]
            assert last.get("failed") is True
            assert words in str(last["message"])
            assert "nabla-remedy" in str(last["html_message"])
        else:
            assert words in page.text
        assert words in browser.get(f"/hub/spawn-pending/{user}").text
    # Nothing of it is left to be counted, paid, or found by the next start.
    until(lambda: not hub.api("GET", f"/users/{user}").json()["servers"], "the server is over")
    assert kubenames.server("nablahub", user, "") not in pods(cluster)


def test_the_hub_does_not_mind_what_users_got_wrong(hub: RunningHub) -> None:
    # more failures than consecutive_failure_limit have come before
    assert len(WRONG) > 3
    assert hub.spawn("alice", instance_type="tiny").request("GET", "/api/status").status_code == 200
    log = (hub.state.logs / "hub.log").read_text()
    assert "consecutive spawns failed" not in log
    assert log.count("JupyterHub is now running") == 1


@contextmanager
def quota(cluster: Cluster, **hard: str) -> Iterator[None]:
    """While the block runs, the namespace has a quota, which has been counted."""
    made = client.V1ResourceQuota(
        metadata=client.V1ObjectMeta(name="tight"), spec=client.V1ResourceQuotaSpec(hard=hard)
    )
    on(cluster, lambda api: api.create_namespaced_resource_quota(cluster.namespace, made))

    def counted() -> bool:
        found = on(cluster, lambda api: api.read_namespaced_resource_quota("tight", made_in))
        return bool(found.status.hard and found.status.used)

    made_in = cluster.namespace
    try:
        until(counted, "the quota is counted", pause=0.1)
        yield
    finally:
        on(cluster, lambda api: api.delete_namespaced_resource_quota("tight", made_in))


@pytest.mark.parametrize(
    ("hard", "words"),
    [
        ({"pods": "1"}, "pods 1 of 1 taken, 1 more needed."),
        ({"persistentvolumeclaims": "0"}, "persistentvolumeclaims=1 more needed."),
    ],
    ids=["before", "by the API"],
)
def test_a_quota_is_told(
    hub: RunningHub, cluster: Cluster, hard: dict[str, str], words: str
) -> None:
    hub.spawn("alice", instance_type="tiny")
    token = hub.token("wim")
    with quota(cluster, **hard):
        answer = hub.api("POST", "/users/wim/server", token=token, body={"instance_type": "tiny"})
    assert answer.status_code == 400, answer.text
    told = answer.json()["message"]
    assert "The quota 'tight' of this hub's servers is used up" in told
    assert words in told
    assert "Stop a server you do not need" in told


@contextmanager
def one_rare_device(cluster: Cluster) -> Iterator[None]:
    """While the block runs, one node of the cluster has one device of a made-up resource."""
    found = on(cluster, lambda api: api.list_node(label_selector="type!=kwok")).items
    nodes = [node for node in found if not node.spec.taints]
    field = RESOURCE.replace("/", "~1")
    places = [f"/status/{where}/{field}" for where in ("capacity", "allocatable")]

    def patch(steps: list[dict[str, str]]) -> None:
        how = "application/json-patch+json"
        name = nodes[0].metadata.name
        on(cluster, lambda api: api.patch_node_status(name, steps, _content_type=how))

    patch([{"op": "add", "path": place, "value": "1"} for place in places])
    try:
        yield
    finally:
        patch([{"op": "remove", "path": places[0]}])


def test_a_busy_type_says_what_it_waits_for_and_starts_when_there_is_room(
    hub: RunningHub, cluster: Cluster
) -> None:
    with (
        one_rare_device(cluster),
        Browser(hub, "bob") as owner,
        Browser(hub, "carol") as browser,
    ):
        until(
            lambda: "Needs 1 × V9000" not in owner.get("/hub/spawn/bob").text,
            "the spawn page offers what a node has now",
        )
        first = hub.spawn("bob", instance_type="rare")
        assert "progress" in browser.choose("rare").text
        events = browser.events()
        said = []
        for event in events:
            said.append(str(event["message"]))
            if "No node with a V9000 is free" in said[-1]:
                break
        first.stop()
        said += [str(event["message"]) for event in events]
        assert any("Server ready" in words for words in said), said
        second = hub.spawn("carol")
        assert second.shell("echo here").strip() == "here"
        second.stop()


def test_a_server_outlives_the_hub_that_started_it(hub: RunningHub, cluster: Cluster) -> None:
    server = hub.spawn("alice", instance_type="tiny")
    made = on(cluster, lambda api: api.list_namespaced_pod(cluster.namespace)).items
    hub.kill("hub")
    hub.until_answers()
    assert hub.api("GET", "/users/alice").json()["servers"][""]["ready"] is True
    assert server.shell("echo here").strip() == "here"
    left = on(cluster, lambda api: api.list_namespaced_pod(cluster.namespace)).items
    assert {pod.metadata.uid for pod in left} == {pod.metadata.uid for pod in made}
    server.stop()
    assert kubenames.server("nablahub", "alice", "") not in pods(cluster)
