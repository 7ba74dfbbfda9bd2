"""Events of many pods come by one watch.

The cluster is a fake, and says so: a server that lists and tells what a test puts there.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from nablahub.core.kubernetes import KubernetesSettings
from nablahub.jobs.runners.kubernetes.api import Api


def event(pod: str, number: int) -> dict[str, Any]:
    meta = {
        "uid": f"event-{number}", "resourceVersion": str(number),
        "creationTimestamp": f"2026-01-01T00:00:{number:02}Z",
    }  # fmt: skip
    return {"metadata": meta, "involvedObject": {"uid": pod}, "message": f"{pod} {number}"}


class FakeCluster:
    """Has some events, and tells of more until it breaks the watch."""

    def __init__(self) -> None:
        self.there: list[dict[str, Any]] = []
        self.more: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.lists = self.watches = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        assert "involvedObject.kind=Pod" in request.query["fieldSelector"]
        if "watch" not in request.query:
            self.lists += 1
            return web.json_response({"items": self.there, "metadata": {"resourceVersion": "1"}})
        self.watches += 1
        answer = web.StreamResponse()
        await answer.prepare(request)
        while (found := await self.more.get()) is not None:
            await answer.write(json.dumps({"type": "ADDED", "object": found}).encode() + b"\n")
        return answer


@pytest.fixture
async def fake() -> AsyncIterator[tuple[FakeCluster, str]]:
    made = FakeCluster()
    app = web.Application()
    app.router.add_get("/{rest:.*}", made.answer)
    server = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0).start()
    yield made, f"http://127.0.0.1:{server.addresses[0][1]}"
    await server.cleanup()


@pytest.fixture
async def api(fake: tuple[FakeCluster, str], tmp_path: Path) -> AsyncIterator[Api]:
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": fake[1]}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }  # fmt: skip
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    made = Api(KubernetesSettings(kubeconfig=tmp_path / "kubeconfig", namespace="work"))
    await made.connect()
    yield made
    await made.close()


async def heard(api: Api, pod: str, count: int) -> list[str]:
    """The first messages about a pod."""
    found: list[str] = []
    async with aclosing(api.events.follow(pod)) as events:
        async for each in events:
            found.append(each["message"])
            if len(found) == count:
                break
    return found


async def test_many_follow_and_there_is_one_watch(api: Api, fake: tuple[FakeCluster, str]) -> None:
    cluster, _ = fake
    cluster.there = [event("a", 2), event("a", 1), event("b", 3)]
    listening = [asyncio.create_task(heard(api, pod, 2)) for pod in ("a", "b", "c", "b")]
    assert await listening[0] == ["a 1", "a 2"]
    for each in (event("b", 4), event("c", 5), event("b", 4), event("c", 6)):
        cluster.more.put_nowait(each)
    rest = await asyncio.gather(*listening)
    assert rest[1:] == [["b 3", "b 4"], ["c 5", "c 6"], ["b 3", "b 4"]]
    # Who comes later hears what was told before.
    assert await heard(api, "c", 2) == ["c 5", "c 6"]
    assert (cluster.lists, cluster.watches) == (1, 1)


async def test_a_watch_that_ends_is_begun_where_it_ended(
    api: Api, fake: tuple[FakeCluster, str]
) -> None:
    cluster, _ = fake
    listening = asyncio.create_task(heard(api, "a", 2))
    for each in (event("a", 2), None, event("a", 3)):
        cluster.more.put_nowait(each)
    assert await listening == ["a 2", "a 3"]
    assert (cluster.lists, cluster.watches) == (1, 2)
