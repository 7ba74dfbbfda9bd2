"""A cluster's API that a test serves itself."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiohttp import web
from kubernetes_asyncio import client

from nablahub_spawner.kubernetes.cluster import Cluster


@asynccontextmanager
async def serving(routes: Iterable[web.RouteDef]) -> AsyncIterator[Cluster]:
    """Serve these routes, and nothing else, to a cluster's client."""
    app = web.Application()
    app.router.add_routes(routes)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    settings = client.Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
    async with client.ApiClient(settings) as way:
        yield Cluster(client.CoreV1Api(way), "space", logging.getLogger("test"))
    await runner.cleanup()
