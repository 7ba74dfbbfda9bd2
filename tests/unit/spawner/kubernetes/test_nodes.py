"""Looking at a cluster's nodes: once for all who ask, and not while others wait."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import pytest
from aiohttp import web
from kubernetes_asyncio import client

from nablahub.core import nodes as core_nodes
from nablahub.core.instances import InstanceType
from nablahub_spawner.kubernetes import nodes
from nablahub_spawner.kubernetes.cluster import Cluster
from tests.unit.spawner.kubernetes.served import serving

SMALL = InstanceType(name="small", cpus=1, memory_gib=1)
LARGE = InstanceType(name="large", cpus=64, memory_gib=1)
TYPES = {kind.name: kind for kind in (SMALL, LARGE)}
NEVER = partial(core_nodes.never, cpu_request_share=1.0)


class Api:
    """A fake of the API's list of nodes, which counts how often it is asked."""

    def __init__(self, count: int = 300) -> None:
        self.asked, self.status, self.cpus = 0, 200, "8"
        self._count = count

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        await asyncio.sleep(0)  # Others may come meanwhile.
        found = [
            {
                "metadata": {"name": f"node-{number}", "creationTimestamp": "2026-01-01T00:00:00Z"},
                "status": {"allocatable": {"cpu": self.cpus, "memory": "32Gi"}},
            }
            for number in range(self._count)
        ]
        return web.json_response({"kind": "NodeList", "items": found}, status=self.status)


def cluster_of(api: Api) -> AbstractAsyncContextManager[Cluster]:
    return serving([web.get("/api/v1/nodes", api.answer)])


def misfits(cluster: Cluster) -> Any:
    return cluster.misfits(TYPES, "plain", NEVER)


async def test_all_who_ask_at_once_are_told_of_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    api, judged = Api(), list[str]()

    def never(kind: InstanceType, found: list[core_nodes.Node]) -> str | None:
        judged.append(kind.name)
        return NEVER(kind, found)

    async with cluster_of(api) as cluster:
        asked = [cluster.misfits(TYPES, "plain", never) for _ in range(200)]
        told = await asyncio.gather(*asked)
        assert told == [{"small": None, "large": told[0]["large"]}] * 200
        assert "the largest node has 8" in str(told[0]["large"])
        assert (api.asked, judged) == (1, ["small", "large"])
        # What else decides is judged by itself; what changed is seen after a while.
        strict = partial(core_nodes.never, node_selector={"zone": "a"})
        assert "zone=a" in str((await cluster.misfits(TYPES, "strict", strict))["small"])
        assert api.asked == 1
        monkeypatch.setattr(nodes, "KEPT", 0.0)
        nodes.nodes_of(cluster._api)._until = 0.0
        api.cpus = "64"
        assert await misfits(cluster) == {"small": None, "large": None}
        assert api.asked == 2


async def test_who_gives_up_takes_the_look_from_nobody() -> None:
    api = Api()
    async with cluster_of(api) as cluster:
        first, second = (asyncio.ensure_future(misfits(cluster)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second)["small"] is None
        assert first.cancelled()
        assert api.asked == 1


async def test_a_hub_that_may_not_list_nodes_refuses_no_type() -> None:
    api = Api()
    api.status = 403
    async with cluster_of(api) as cluster:
        assert await misfits(cluster) == {"small": None, "large": None}
    api.status = 500
    async with cluster_of(api) as cluster:
        with pytest.raises(client.ApiException):
            await misfits(cluster)
        api.status = 200  # It is asked again, since nothing was learnt.
        assert (await misfits(cluster))["small"] is None
