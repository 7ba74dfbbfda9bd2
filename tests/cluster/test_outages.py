"""What a cluster does to a whole hub: its API away, its watches cut, its pods and nodes gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from kubernetes_asyncio import client

from nablahub.client import Hub
from nablahub.core import kubenames
from nablahub.jobs.types import Job, JobSpec
from tests.cluster.gate import Gate, gate
from tests.cluster.hubs import cluster_hub
from tests.cluster.stands import Eyes
from tests.cluster.target import Cluster
from tests.support.hub import RunningHub
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(600)

TYPES: dict[str, object] = {
    "C3": {"cpus": 1, "memory_gib": 0.5},
}
#: The hub sees a server that is gone at its next look.
MORE = """
c.Spawner.poll_interval = 2
"""
AWAY_SECONDS = 30


class Outages:
    """A hub whose way to the cluster's API can be shut."""

    def __init__(self, hub: RunningHub, way: Gate, cluster: Cluster, eyes: Eyes) -> None:
        self.hub, self.way, self.cluster, self.eyes = hub, way, cluster, eyes
        self.client: Hub = hub.client("alice")
        self.project = self.client.projects.create("work").id

    def submit(self, script: str, **more: Any) -> Job:
        """Submit a script of sh."""
        spec = {"project_id": self.project, "instance_type": "C3",
                "command": ["sh", "-ec", script], **more}  # fmt: skip
        made: Job = self.client.jobs.submit(JobSpec.model_validate(spec))
        return made

    def until_said(self, job: Job, words: str) -> None:
        """Return when a job's message has some words."""
        until(lambda: words in self.client.jobs.get(job.id).message, words, pause=0.1)

    def until_runs(self, job: Job) -> None:
        """Return when a job runs."""
        until(lambda: self.client.jobs.get(job.id).state == "Running", "it runs", pause=0.05)

    def servers(self, user: str) -> dict[str, Any]:
        """What the hub knows of a user's servers."""
        found: dict[str, Any] = self.hub.api("GET", f"/users/{user}").json()["servers"]
        return found

    def refused(self, user: str) -> str:
        """Why a user's server is not started now."""
        token = self.hub.token(user)
        answer = self.hub.api(
            "POST", f"/users/{user}/server", token=token, body={"instance_type": "C3"}
        )
        assert answer.status_code >= 400, answer.text
        return str(answer.json()["message"])

    def on(self, work: Any) -> Any:
        """Do something with the cluster's API."""

        async def run() -> Any:
            async with self.cluster.api() as api:
                return await work(client.CoreV1Api(api))

        return asyncio.run(run())


@pytest.fixture(scope="module")
def outages(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outages]:
    folder: Path = tmp_path_factory.mktemp("outages")
    with gate(cluster.kubeconfig) as way, Eyes(cluster) as eyes:
        config = way.kubeconfig(folder / "kubeconfig", cluster.namespace)
        with cluster_hub(
            cluster, folder, kubeconfig=config, types=TYPES, more=MORE, stuck_seconds=4
        ) as hub:
            yield Outages(hub, way, cluster, eyes)


def ticking(seconds: int) -> tuple[str, str]:
    """A script that says something twice a second, and what it will have said."""
    count = 2 * seconds
    script = f"n=0; while [ $n -lt {count} ]; do echo $n; n=$((n + 1)); sleep 0.5; done"
    return script, "".join(f"{n}\n" for n in range(count))


def test_an_api_that_is_away_for_half_a_minute(outages: Outages) -> None:
    server = outages.hub.spawn("alice", instance_type="C3")
    started = server.request("GET", "/api/status").json()["started"]
    script, said = ticking(AWAY_SECONDS // 2)
    running = outages.submit(script)
    outages.until_runs(running)

    outages.way.shut()
    end = time.monotonic() + AWAY_SECONDS
    waiting = outages.submit("echo later")
    outages.until_said(waiting, "The cluster does not answer; it is asked again.")
    assert "The cluster does not answer" in outages.refused("bob")
    # A hub that is killed meanwhile forgets no server.
    outages.hub.kill("hub")
    outages.hub.until_answers()
    assert outages.servers("alice")[""]["ready"] is True
    assert server.request("GET", "/api/status").json()["started"] == started
    # The log of what runs comes by another way.
    until(lambda: outages.client.jobs.log(running.id) == said, "all of the log", pause=0.2)
    until(lambda: time.monotonic() > end, "it was away for long", pause=0.1)
    assert outages.client.jobs.get(running.id).state == "Running"

    outages.way.open()
    ended = outages.client.jobs.wait(running.id)
    assert (ended.state, ended.message) == ("Succeeded", "")
    late = outages.client.jobs.wait(waiting.id)
    assert (late.state, late.message) == ("Succeeded", "")
    assert outages.client.jobs.log(waiting.id) == "later\n"
    assert [len(outages.eyes.seen[job.id]) for job in (running, waiting)] == [1, 1]
    assert server.request("GET", "/api/status").json()["started"] == started
    outages.hub.spawn("bob", instance_type="C3").stop()
    server.stop()


@pytest.mark.parametrize("fault", ["cut", "forget"])
def test_watches_that_end_lose_nothing(outages: Outages, fault: str) -> None:
    """Cut connections, and a history that was compacted (410 Gone), again and again."""
    script, said = ticking(4)
    token = outages.hub.token("bob")
    wish = {"instance_type": "C3"}
    broken = 0
    # The hub answers when the server is ready, or after ten seconds: the jobs may have ended then.
    with ThreadPoolExecutor(1) as beside:
        asked = beside.submit(outages.hub.api, "POST", "/users/bob/server", token=token, body=wish)
        jobs = [outages.submit(script) for _ in range(3)]
        while {outages.client.jobs.get(job.id).state for job in jobs} - {"Succeeded"}:
            broken += outages.way.cut() if fault == "cut" else outages.way.forget()
            time.sleep(0.3)
        asked.result()
    assert broken > 5
    for job in jobs:
        assert outages.client.jobs.log(job.id) == said
        assert len(outages.eyes.seen[job.id]) == 1
    server = outages.hub.spawn("bob")
    assert server.request("GET", "/api/status").status_code == 200
    server.stop()
    name = kubenames.server("nablahub", "bob", "")
    until(lambda: name not in outages.eyes.there.values(), "its pod is gone")


def test_pods_deleted_by_hand(outages: Outages) -> None:
    job = outages.submit("echo begun; sleep 600")
    until(lambda: outages.client.jobs.log(job.id) == "begun\n", "it has begun", pause=0.05)
    server = outages.hub.spawn("alice", instance_type="C3")
    started = server.request("GET", "/api/status").json()["started"]
    name = kubenames.server("nablahub", "alice", "")
    space = outages.cluster.namespace
    pods = outages.on(lambda api: api.list_namespaced_pod(space)).items
    for pod in pods:
        outages.on(lambda api, n=pod.metadata.name: api.delete_namespaced_pod(n, space))

    ended = outages.client.jobs.wait(job.id)
    assert (ended.state, ended.reason) == ("Error", "lost")
    words = "It was killed: its pod was deleted, or its node was drained or shut down."
    assert ended.message == words
    assert outages.client.jobs.log(job.id) == "begun\n"
    assert len(outages.eyes.seen[job.id]) == 1
    until(lambda: not outages.servers("alice"), "the hub knows that the server is gone", pause=0.1)
    again = outages.hub.spawn("alice", instance_type="C3")
    assert again.request("GET", "/api/status").json()["started"] != started
    assert list(outages.eyes.there.values()).count(name) == 1
    again.stop()
