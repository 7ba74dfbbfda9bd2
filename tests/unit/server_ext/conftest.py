"""A real Jupyter server with the extension, in front of a small real upstream."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from tornado import web
from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.testing import bind_unused_port

from nablahub.jobs.runners.process.ports import free_port

# Signs in by a cookie, as the hub does, so that a test can be one user or another.
CONFIG = """
from jupyter_server.auth import IdentityProvider, User

class ByCookie(IdentityProvider):
    def get_user(self, handler):
        name = handler.get_cookie("who")
        return User(username=name) if name else None

c.ServerApp.identity_provider_class = ByCookie
c.ServerApp.jpserver_extensions = {"nablahub_server": True}
c.ServerApp.open_browser = False
"""


@dataclass
class Seen:
    """One request as it reached the upstream."""

    method: str
    uri: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Upstream:
    """What the upstream was asked, and where it listens."""

    url: str
    seen: list[Seen] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)


@web.stream_request_body
class Echo(web.RequestHandler):
    """Notes what came; answers by the last word of the path."""

    def initialize(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.body = bytearray()

    async def data_received(self, chunk: bytes) -> None:
        self.body += chunk

    def on_connection_close(self) -> None:
        self.upstream.left.set()
        # Else the stream below would hold the server's shutdown up.
        self.upstream.release.set()

    async def answer(self, path: str) -> None:
        request = self.request
        headers = dict(request.headers.get_all())
        self.upstream.seen.append(
            Seen(request.method or "", request.uri or "", headers, bytes(self.body))
        )
        word = path.rsplit("/", 1)[-1]
        if word == "moved":
            self.set_status(302)
            self.set_header("Location", "http://elsewhere.invalid/")
        elif word == "made":
            self.set_status(201)
            self.set_header("Location", "/services/nablahub/api/v1/projects/p1")
            self.set_header("ETag", '"7"')
            self.set_header("Set-Cookie", "stolen=1")
            self.write({"id": "p1"})
        elif word == "empty":
            self.set_status(204)
        elif word == "page.html":
            self.set_header("Content-Type", "text/html")
            self.write("<script>alert(1)</script>")
        elif word == "breaks":
            self.set_header("Content-Length", "1000")
            self.write(b"half")
            await self.flush()
            self.request.connection.stream.close()  # type: ignore[union-attr]  # is HTTP/1 here
        elif word == "events":
            self.set_header("Content-Type", "text/event-stream")
            self.write("id: 1\ndata: first\n\n")
            await self.flush()
            await self.upstream.release.wait()
            try:
                self.write("id: 2\ndata: second\n\n")
                await self.flush()
            except StreamClosedError:
                return
        else:
            self.write({"method": request.method, "bytes": len(self.body)})

    get = post = put = patch = delete = answer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncIterator[Upstream]:
    sock, port = bind_unused_port()
    told = Upstream(f"http://127.0.0.1:{port}/services/nablahub")
    app = web.Application([(r"/services/nablahub/api/v1/(.*)", Echo, {"upstream": told})])
    server = HTTPServer(app, max_body_size=1 << 32)
    server.add_sockets([sock])
    yield told
    told.release.set()
    server.stop()
    await server.close_all_connections()


@pytest.fixture
def upstream(service: Upstream) -> Upstream:
    """The service's stand-in, having seen nothing yet."""
    service.seen.clear()
    service.left.clear()
    service.release.clear()
    return service


@dataclass
class Lab:
    """A running Jupyter server and a client that is signed in to it as alice."""

    url: str
    client: httpx.AsyncClient

    def api(self, path: str) -> str:
        return f"{self.url}/nablahub/api/{path}"


async def start_lab(folder: Path, service_url: str) -> tuple[asyncio.subprocess.Process, str]:
    """Start ``jupyter server`` below ``/user/alice/``; returns it and its address when up."""
    config = folder / "config.py"
    config.write_text(CONFIG)
    port = free_port()
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "NABLAHUB"))},
        "HOME": str(folder),
        "JUPYTERHUB_USER": "alice",
        "JUPYTERHUB_API_TOKEN": "the-server-token",
        "NABLAHUB_URL": service_url,
        "JUPYTER_RUNTIME_DIR": str(folder / "run"),
        "JUPYTER_CONFIG_DIR": str(folder / "etc"),
        "http_proxy": "http://127.0.0.1:9",  # must not be asked
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "jupyter_server",
        f"--config={config}",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        "--ServerApp.base_url=/user/alice/",
        "--allow-root",
        env=environment,
        cwd=folder,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    lines = []
    while line := await process.stderr.readline():
        lines.append(line.decode())
        if "is running at" in lines[-1]:
            return process, f"http://127.0.0.1:{port}/user/alice"
    raise AssertionError("jupyter server did not start:\n" + "".join(lines))


async def drain(process: asyncio.subprocess.Process) -> None:
    """Keep the server's log flowing, so that a full pipe never stops it."""
    assert process.stderr is not None
    while await process.stderr.readline():
        pass


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory, service: Upstream) -> AsyncIterator[Lab]:
    async for running in running_lab(tmp_path_factory.mktemp("lab"), service.url):
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def lost_lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """A server whose service is down."""
    async for running in running_lab(tmp_path, f"http://127.0.0.1:{free_port()}/services/nablahub"):
        yield running


async def running_lab(folder: Path, service_url: str) -> AsyncIterator[Lab]:
    process, url = await start_lab(folder, service_url)
    draining = asyncio.create_task(drain(process))
    try:
        # Any page hands out such a cookie; its value only has to come back in the header.
        cookies = {"who": "alice", "_xsrf": "00112233445566778899aabbccddeeff"}
        async with httpx.AsyncClient(cookies=cookies, timeout=30, trust_env=False) as client:
            yield Lab(url, client)
    finally:
        process.terminate()
        await process.wait()
        await draining
