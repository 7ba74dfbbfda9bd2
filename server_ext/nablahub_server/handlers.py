"""One handler that passes calls to the service and its answers back, both as streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
from jupyter_server.auth.decorator import authorized
from tornado import web
from tornado.iostream import StreamClosedError

from nablahub_server import rules
from nablahub_server.owners import OwnersHandler
from nablahub_server.upstream import Upstream

# Jupyter's own limit (512 MiB) is for bodies held in memory; ours pass by.
MAX_BODY = 1 << 44
AWAY = "The NablaHub service does not answer at the moment."
AWAY_HINT = "It is probably being restarted. Try again in a few seconds; 'nablahub status' tells."
UNSET = "This server does not know where the NablaHub service is: NABLAHUB_URL is not set."
UNSET_HINT = "Start the server through NablaHub, or set NABLAHUB_URL and NABLAHUB_TOKEN."


class Body:
    """The request's body on its way: a short queue, so that a slow reader slows the sender."""

    def __init__(self) -> None:
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=4)
        self._abandoned = False

    async def put(self, chunk: bytes | None) -> None:
        """Pass on a chunk, or ``None`` for the end; dropped when nobody reads any more."""
        if not self._abandoned:
            await self._chunks.put(chunk)

    def abandon(self) -> None:
        """Stop reading: what waits and what still comes is dropped."""
        self._abandoned = True
        while not self._chunks.empty():
            self._chunks.get_nowait()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (chunk := await self._chunks.get()) is not None:
            yield chunk


@web.stream_request_body
class ForwardHandler(OwnersHandler):
    """``nablahub/api/<path>`` answers with what the service says to ``/api/v1/<path>``."""

    def initialize(self, upstream: Upstream, client: httpx.AsyncClient) -> None:
        """Take the route's options."""
        super().initialize(upstream, client)
        self.unread = True
        self.body = Body()
        self.forwarding: asyncio.Task[None] | None = None

    async def prepare(self) -> None:  # type: ignore[override]  # as APIHandler's own
        """Check who calls, then begin while the body arrives."""
        await super().prepare()
        if self._finished:
            return
        path = rules.inner_path(self.request.path)
        if path is None:
            self.problem(400, "malformed", "The path holds a segment that is not allowed.")
            return
        if not self.upstream.url:
            self.problem(503, "unavailable", UNSET, UNSET_HINT)
            return
        self.request.connection.set_max_body_size(MAX_BODY)  # type: ignore[union-attr]  # is HTTP/1 here
        query = rules.inner_query(self.request.query)
        url = f"{self.upstream.url}/api/v1/{path}" + (f"?{query}" if query else "")
        self.forwarding = asyncio.create_task(self.forward(url))

    async def data_received(self, chunk: bytes) -> None:
        """Pass a piece of the body on; returns when the service is ready for more."""
        await self.body.put(chunk)

    def on_connection_close(self) -> None:
        """Let go of the service when the browser is gone."""
        super().on_connection_close()
        if self.forwarding is not None:
            self.forwarding.cancel()

    @web.authenticated
    @authorized
    async def get(self, _path: str) -> None:
        """Wait until the answer has passed."""
        await self.complete()

    @web.authenticated
    @authorized
    async def head(self, _path: str) -> None:
        """Wait until the answer's headers have passed."""
        await self.complete()

    @web.authenticated
    @authorized
    async def post(self, _path: str) -> None:
        """Wait until the answer has passed."""
        await self.complete()

    @web.authenticated
    @authorized
    async def put(self, _path: str) -> None:
        """Wait until the answer has passed."""
        await self.complete()

    @web.authenticated
    @authorized
    async def patch(self, _path: str) -> None:
        """Wait until the answer has passed."""
        await self.complete()

    @web.authenticated
    @authorized
    async def delete(self, _path: str) -> None:
        """Wait until the answer has passed."""
        await self.complete()

    async def complete(self) -> None:
        """End the body and wait for the answer's end."""
        self.unread = False
        if self.forwarding is None:
            return
        await self.body.put(None)
        await asyncio.wait([self.forwarding])
        if not self.forwarding.cancelled() and (error := self.forwarding.exception()):
            raise error
        if not self._finished:
            self.finish()

    async def forward(self, url: str) -> None:
        """Ask the service and pass its answer on, piece by piece."""
        try:
            response = await self.client.send(self.outgoing(url), stream=True)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            self.log.warning("NablaHub: %s %s: %r", self.request.method, url, error)
            self.problem(503, "unavailable", AWAY, AWAY_HINT, finish=False)
            return
        finally:
            self.body.abandon()
        try:
            self.take_headers(response)
            await self.flush()
            async for chunk in response.aiter_raw():
                self.write(chunk)
                await self.flush()
        except StreamClosedError:
            pass  # the browser left; nobody is there to be told
        except httpx.TransportError as error:
            # A proper end would make half an answer look whole.
            self.log.warning("NablaHub: %s broke off: %r", url, error)
            self.request.connection.stream.close()  # type: ignore[union-attr]  # is HTTP/1 here
        finally:
            await response.aclose()

    def outgoing(self, url: str) -> httpx.Request:
        """Build the request to the service: allowed headers, the server's token, the body."""
        incoming = self.request.headers
        headers = {name: incoming[name] for name in rules.REQUEST_HEADERS if name in incoming}
        # Without this httpx would ask for gzip on behalf of a client that may not know it.
        headers.setdefault("Accept-Encoding", "identity")
        headers["Authorization"] = f"Bearer {self.upstream.token}"
        has_body = "Content-Length" in incoming or "Transfer-Encoding" in incoming
        method = self.request.method or "GET"
        return self.client.build_request(
            method, url, headers=headers, content=self.body if has_body else None
        )

    def take_headers(self, response: httpx.Response) -> None:
        """Set status and headers of the answer from the service's."""
        self.set_status(response.status_code, response.reason_phrase)
        self.clear_header("Content-Type")
        for name, value in rules.returned_headers(response.headers.multi_items()):
            self.set_header(name, value)
        location = response.headers.get("Location", "")
        if inside := rules.returned_location(location, self.upstream.url, self.base_url):
            self.set_header("Location", inside)
        policy = response.headers.get("Content-Security-Policy", "")
        self.set_header("Content-Security-Policy", rules.content_policy(policy))
        self.set_header("X-Content-Type-Options", "nosniff")
        # nginx and its like hold streams back unless told not to.
        self.set_header("X-Accel-Buffering", "no")
