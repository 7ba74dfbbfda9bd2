"""What stands around the kubernetes runner in its contract suite.

The service is a fake, and says so: it only takes what pods send, through the runner's own
`Receiving`. Everything else is real: the cluster, the pods, their images, the volumes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any, cast
from urllib.parse import urlsplit

from aiohttp import web

from nablahub.jobs.runners.contract import TaskName
from nablahub.jobs.runners.receiving import Part, Receiving


class Receiver:
    """A fake service: the routes that pods use, for the token ``secret``."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """How pods reach it."""
        return f"http://{self._host}:{self._port}"

    async def start(self, receiving: Receiving) -> None:
        """Listen, on the same port each time."""

        async def log(request: web.Request) -> web.Response:
            chunks = request.content.iter_any()
            offset, node = int(request.query["offset"]), request.query.get("node")
            name, source = TaskName(request.match_info["job"]), request.query.get("source", "")
            number = None if node is None else int(node)
            size = await receiving.log(name, offset, chunks, source, node=number)
            return web.json_response({"size": size})

        async def tree(request: web.Request) -> web.Response:
            name, part = TaskName(request.match_info["job"]), request.match_info["part"]
            await receiving.tree(name, cast("Part", part), request.content.iter_any())
            return web.Response(status=204)

        app = web.Application()
        app.router.add_put("/api/v1/jobs/{job}/task/log", log)
        app.router.add_put("/api/v1/jobs/{job}/task/files/{part}", tree)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "0.0.0.0", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Drop all connections and do not listen any more."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


class Way:
    """The way to the cluster's API: a relay of bytes that can be cut."""

    def __init__(self, server: str) -> None:
        url = urlsplit(server)
        self.name = url.hostname or ""
        self._target = (self.name, url.port or 443)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def open(self) -> None:
        """Listen, on the same port each time."""
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Break every connection there is."""
        for writer in self._open:
            writer.transport.abort()

    async def close(self) -> None:
        """Break every connection and take no new ones."""
        if self._server is not None:
            self._server.close()
            self.cut()
            await self._server.wait_closed()
            self._server = None

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        self._open |= {writer, back}
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_pump(reader, back))
                tasks.create_task(_pump(there, writer))
        finally:
            self._open -= {writer, back}
            for each in (writer, back):
                each.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


def own_address(server: str) -> str:
    """The address by which pods reach this machine: what packets to the cluster leave by."""
    url = urlsplit(server)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((url.hostname, url.port or 443))
        return cast("str", probe.getsockname()[0])


def with_server(kubeconfig: dict[str, Any], way: Way) -> dict[str, Any]:
    """A kubeconfig by which the cluster is reached over a relay."""
    for entry in kubeconfig["clusters"]:
        entry["cluster"]["server"] = f"https://127.0.0.1:{way.port}"
        entry["cluster"]["tls-server-name"] = way.name
    return kubeconfig
