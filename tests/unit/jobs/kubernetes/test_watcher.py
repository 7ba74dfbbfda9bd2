"""What is known of a cluster stays true when its watches expire, break or skip.

The cluster is a fake, and says so: a server that answers lists and watches by a script.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from nablahub.core.kubernetes import KubernetesSettings
from nablahub.jobs.runners.contract import TaskName
from nablahub.jobs.runners.kubernetes.api import Api
from nablahub.jobs.runners.kubernetes.together import Node, with_lack
from nablahub.jobs.runners.kubernetes.verdict import Seen
from nablahub.jobs.runners.kubernetes.watcher import Watcher


def pod(task: str, version: int) -> dict[str, Any]:
    meta = {
        "name": f"pod-of-{task}", "resourceVersion": str(version),
        "annotations": {"nablahub.org/task": task},
    }  # fmt: skip
    return {"metadata": meta, "status": {}}


class FakeCluster:
    """Lists of pods, each with the events of the watch that follows it."""

    def __init__(self) -> None:
        self.lists: list[list[dict[str, Any]]] = []
        self.watches: list[list[dict[str, Any]] | int] = []
        self.versions: list[str] = []
        #: What the cluster says to whoever asks for Deployments.
        self.deployments = 200
        #: What it has told of claims, and what it tells then.
        self.told_of_claims: list[dict[str, Any]] = []
        self.tells_of_claims: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("deployments") and self.deployments != 200:
            return web.json_response({"message": "no"}, status=self.deployments)
        if "PersistentVolumeClaim" in request.query.get("fieldSelector", ""):
            return await self._claims(request)
        if not request.path.endswith("pods"):
            return await self._hang(request) if "watch" in request.query else self._list([])
        if "watch" not in request.query:
            return self._list(self.lists.pop(0))
        self.versions.append(request.query["resourceVersion"])
        if not self.watches:
            return await self._hang(request)
        script = self.watches.pop(0)
        if isinstance(script, int):
            return web.Response(status=script)
        body = "".join(json.dumps(event) + "\n" for event in script)
        return web.Response(text=body)

    async def _claims(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return self._list(self.told_of_claims)
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(json.dumps(await self.tells_of_claims.get()).encode() + b"\n")

    def _list(self, items: list[dict[str, Any]]) -> web.Response:
        return web.json_response({"items": items, "metadata": {"resourceVersion": "100"}})

    async def _hang(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await asyncio.Event().wait()
        return answer


class Known:
    """A watcher of a fake cluster, and what it told."""

    def __init__(self, fake: FakeCluster, api: Api) -> None:
        self.fake = fake
        self.told: asyncio.Queue[TaskName] = asyncio.Queue()
        self.watcher = Watcher(api, "app=nablahub", self.told.put_nowait)


@pytest.fixture
async def known(tmp_path: Path) -> AsyncIterator[Known]:
    fake = FakeCluster()
    app = web.Application()
    app.router.add_get("/{rest:.*}", fake.answer)
    server = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{server.addresses[0][1]}"
    kubeconfig = tmp_path / "kubeconfig"
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }  # fmt: skip
    kubeconfig.write_text(json.dumps(config))
    api = Api(KubernetesSettings(kubeconfig=kubeconfig, namespace="work"))
    await api.connect()
    made = Known(fake, api)
    yield made
    await made.watcher.close()
    await api.close()
    await server.cleanup()


EXPIRED = {"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}


async def told(known: Known, *names: str) -> None:
    """Return when each of the tasks was told of."""
    missing = set(names)
    while missing:
        missing.discard(await known.told.get())


@pytest.mark.parametrize("expiry", [[EXPIRED], 410])
async def test_what_expired_is_listed_anew(known: Known, expiry: Any) -> None:
    known.fake.lists = [[pod("a", 1)], [pod("b", 2)]]
    known.fake.watches = [expiry]
    known.watcher.start()
    await told(known, "a", "b")
    assert known.watcher.nodes(TaskName("a")) == {0: Node(pod("a", 1), gone=True)}
    assert known.watcher.nodes(TaskName("b")) == {0: Node(pod("b", 2))}
    known.watcher.forget(TaskName("a"))
    assert known.watcher.nodes(TaskName("a")) == {}


async def test_a_watch_that_ended_goes_on_where_it_was(known: Known) -> None:
    known.fake.lists = [[]]
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "107"}}}
    known.fake.watches = [
        [{"type": "ADDED", "object": pod("a", 105)}, bookmark],
        [{"type": "DELETED", "object": pod("a", 108)}],
    ]
    known.watcher.start()
    await told(known, "a")
    await told(known, "a")
    assert known.watcher.nodes(TaskName("a")) == {0: Node(pod("a", 108), gone=True)}
    assert known.fake.versions[:2] == ["100", "107"]


async def test_a_cluster_that_fails_is_asked_again(known: Known) -> None:
    known.fake.lists = [[pod("a", 1)], [pod("a", 2)]]
    known.fake.watches = [500]
    known.watcher.start()
    await told(known, "a")
    await told(known, "a")
    assert known.watcher.nodes(TaskName("a")) == {0: Node(pod("a", 2))}


@pytest.mark.parametrize("status", [403, 404])
async def test_with_rights_for_jobs_alone_jobs_are_followed(known: Known, status: int) -> None:
    known.fake.deployments = status
    known.fake.lists = [[pod("a", 1)]]
    known.watcher.start()
    async with asyncio.timeout(30):
        await known.watcher.synced()
    assert known.watcher.nodes(TaskName("a")) == {0: Node(pod("a", 1))}
    assert known.watcher.maker("Deployment", TaskName("a")) is None


def of_claim(reason: str, message: str, *, uid: str = "u", name: str = "storage-a") -> Any:
    about = {"kind": "PersistentVolumeClaim", "name": name, "uid": uid}
    meta = {"name": f"{name}.{reason}", "resourceVersion": "110"}
    return {"metadata": meta, "involvedObject": about, "reason": reason, "message": message}


async def test_what_a_claim_lacks_is_known_of_the_jobs_that_wait_for_it(known: Known) -> None:
    waits, placed = pod("a", 1), pod("b", 2)
    for each in (waits, placed):
        claim = {"persistentVolumeClaim": {"claimName": "storage-a"}}
        each["spec"] = {"volumes": [{"emptyDir": {}}, claim]}
    placed["spec"]["nodeName"] = "node"
    known.fake.lists = [[waits, placed]]
    known.watcher.start()
    await told(known, "a", "b")
    no_mode = of_claim("ProvisioningFailed", "only ReadWriteOnce is supported")
    known.fake.tells_of_claims.put_nowait({"type": "ADDED", "object": no_mode})
    await told(known, "a")
    seen = with_lack(Seen("waiting"), known.watcher.lack(TaskName("a")))
    assert seen.message == (
        "Its storage cannot be made (the claim storage-a): only ReadWriteOnce is supported. "
        "Tell an administrator: check the storage class and access mode of jobs."
    )
    assert known.watcher.lack(TaskName("b")) == ""
    anew = of_claim("WaitForFirstConsumer", "waiting", uid="another")
    known.fake.tells_of_claims.put_nowait({"type": "ADDED", "object": anew})
    await told(known, "a")
    assert known.watcher.lack(TaskName("a")) == ""


async def test_a_claim_that_got_its_volume_lacks_nothing(known: Known) -> None:
    waits = pod("a", 1)
    waits["spec"] = {"volumes": [{"persistentVolumeClaim": {"claimName": "storage-a"}}]}
    known.fake.told_of_claims = [of_claim("FailedBinding", "no class is set")]
    known.fake.lists = [[waits]]
    known.watcher.start()
    while not known.watcher.lack(TaskName("a")):
        await told(known, "a")
    got = of_claim("ProvisioningSucceeded", "done")
    known.fake.tells_of_claims.put_nowait({"type": "ADDED", "object": got})
    while known.watcher.lack(TaskName("a")):
        await told(known, "a")
