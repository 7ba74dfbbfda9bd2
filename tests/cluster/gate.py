"""A gate before a cluster's API: counts what is asked, and shuts, cuts, or tells that it forgot.

It speaks HTTP without TLS to whoever comes by its kubeconfig, and is the cluster's administrator,
or whoever the kubeconfig that it was made of names, to the API behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import tempfile
import threading
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from ruamel.yaml import YAML

#: What a watch is told whose version is too old.
GONE: dict[str, Any] = {
    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
    "message": "too old resource version", "reason": "Expired", "code": 410,
}  # fmt: skip
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "te", "upgrade"}


class Gate:
    """The way to the API of a cluster, in a thread of its own.

    Parameters
    ----------
    kubeconfig : pathlib.Path
        Where the cluster is, and who one is there.
    """

    def __init__(self, kubeconfig: Path) -> None:
        given = YAML(typ="safe").load(kubeconfig)
        self._server = str(given["clusters"][0]["cluster"]["server"])
        self._tls, self._headers = _credentials(given)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="gate", daemon=True)
        self._runner: web.AppRunner | None = None
        self._streams: dict[asyncio.Task[Any], web.StreamResponse] = {}
        self._port = 0
        self._forgot = 0
        #: Requests by verb and kind, such as ("list", "pods"); a watch counts when it begins.
        self.asked: Counter[tuple[str, str]] = Counter()

    def __enter__(self) -> Gate:
        self._thread.start()
        self._do(self._begin)
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.shut()
        self._do(self._end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def kubeconfig(self, path: Path, namespace: str) -> Path:
        """Write, and return, what leads through the gate into a namespace."""
        cluster = {"server": f"http://127.0.0.1:{self._port}"}
        context = {"cluster": "gate", "user": "gate", "namespace": namespace}
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1", "kind": "Config", "current-context": "gate",
                    "clusters": [{"name": "gate", "cluster": cluster}],
                    "contexts": [{"name": "gate", "context": context}],
                    "users": [{"name": "gate", "user": {}}],
                }
            )
        )  # fmt: skip
        return path

    def open(self) -> None:
        """Let everybody in, on the same port each time."""
        self._do(self._open)

    def shut(self) -> None:
        """Break every connection and take no new ones: the API is away."""
        self._do(self._shut)

    def cut(self) -> int:
        """Break every watch there is; returns how many."""
        return self._do(self._cut)

    def forget(self) -> int:
        """Let every watch end by 410 Gone, and the next of each kind fail by it; returns how many.

        That is what a watch hears after the API's history was compacted.
        """
        return self._do(self._forget)

    def _do[T](self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(60)

    async def _begin(self) -> None:
        # A watch of its own for each, and many small requests beside.
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        self._client = aiohttp.ClientSession(connector=connector, timeout=timeout)

    async def _end(self) -> None:
        await self._client.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for _ in range(3):  # What was closed hears of it in a later round of the loop.
            await asyncio.sleep(0)

    async def _open(self) -> None:
        if self._runner is not None:
            return
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def _shut(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await self._cut()
            await runner.cleanup()

    async def _cut(self) -> int:
        tasks = list(self._streams)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return len(tasks)

    async def _forget(self) -> int:
        told = json.dumps({"type": "ERROR", "object": GONE}).encode() + b"\n"
        self._forgot = len(self._streams)
        for answer in self._streams.values():
            with contextlib.suppress(OSError):
                await answer.write(told)
        return await self._cut()

    def onward(self, request: web.Request) -> str:
        """Return the path and the query with which a request goes on."""
        return request.raw_path

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        watches = request.query.get("watch") in ("true", "True", "1")
        self.asked[_name(request, watches=watches)] += 1
        if watches and self._forgot:
            self._forgot -= 1
            return web.json_response(GONE, status=410)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP}
        url = f"{self._server}{self.onward(request)}"
        async with self._client.request(
            request.method, url, headers=headers | self._headers,
            data=await request.read() or None, allow_redirects=False, auto_decompress=False,
        ) as answer:  # fmt: skip
            kept = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP}
            if not watches:
                return web.Response(status=answer.status, headers=kept, body=await answer.read())
            stream = web.StreamResponse(status=answer.status, headers=kept)
            await stream.prepare(request)
            task = asyncio.current_task()
            assert task is not None
            self._streams[task] = stream
            try:
                with contextlib.suppress(ConnectionError):  # who watched is gone
                    async for data in answer.content.iter_any():
                        await stream.write(data)
            finally:
                del self._streams[task]
                # Not by TLS's goodbye, which may outlive the loop.
                if answer.connection is not None and answer.connection.transport is not None:
                    answer.connection.transport.abort()
            return stream


def _credentials(given: dict[str, Any]) -> tuple[ssl.SSLContext, dict[str, str]]:
    cluster, user = given["clusters"][0]["cluster"], given["users"][0]["user"]
    context = ssl.create_default_context(cadata=_data(cluster, "certificate-authority").decode())
    if "client-certificate-data" in user or "client-certificate" in user:
        with tempfile.NamedTemporaryFile() as both:
            both.write(_data(user, "client-certificate") + b"\n" + _data(user, "client-key"))
            both.flush()
            context.load_cert_chain(both.name)
    token = user.get("token")
    return context, {"Authorization": f"Bearer {token}"} if token else {}


def _data(section: dict[str, Any], name: str) -> bytes:
    if f"{name}-data" in section:
        return b64decode(section[f"{name}-data"])
    return Path(section[name]).read_bytes()


def _name(request: web.Request, *, watches: bool) -> tuple[str, str]:
    """The verb and the kind of a request, as Kubernetes names them."""
    parts = request.path.strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    kind, single = (rest[0] if rest else request.path), len(rest) > 1
    verbs = {"GET": "get" if single else "list", "POST": "create", "PUT": "update",
             "PATCH": "patch", "DELETE": "delete"}  # fmt: skip
    return ("watch" if watches else verbs.get(request.method, request.method)), kind


@contextlib.contextmanager
def gate(kubeconfig: Path) -> Iterator[Gate]:
    """A gate that is open, while the block runs."""
    with Gate(kubeconfig) as made:
        yield made
