"""The cluster is one that the other tests can work on."""

from __future__ import annotations

from kubernetes_asyncio import client

from tests.cluster.target import Cluster


async def test_the_cluster_answers_and_has_our_namespace(cluster: Cluster) -> None:
    async with cluster.api() as api:
        version = await client.VersionApi(api).get_code()
        namespace = await client.CoreV1Api(api).read_namespace(cluster.namespace)
    assert (int(version.major), int(version.minor.rstrip("+"))) >= (1, 29)
    assert namespace.status.phase == "Active"
