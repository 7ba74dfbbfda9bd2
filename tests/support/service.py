"""The real service in a thread, for tests that need no hub.

What stands in for the hub is a fake: a tornado server that answers ``GET /hub/api/user`` for the
tokens of a few invented users. Everything else (database, reconciler, runner) is the real thing.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tornado import web
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from nablahub.client import Hub
from nablahub.core.extension import Extension
from nablahub.core.settings import Settings
from nablahub.core.state import StateDir
from nablahub.core.transport import Transport
from nablahub.service.__main__ import READ_BYTES
from nablahub.service.app import Service
from tests.support import databases

SCOPES = ["custom:nablahub:read", "custom:nablahub:write"]


class FakeHub:
    """Knows users by the token ``token-of-<name>``; fields may be changed while it runs."""

    def __init__(self) -> None:
        self.users: dict[str, dict[str, Any]] = {}
        self.asked = 0
        for name in ("alice", "bob", "carol"):
            self.add(name)

    def add(self, name: str, **fields: Any) -> str:
        """Make a user and return their token."""
        token = f"token-of-{name}"
        self.users[token] = {
            "kind": "user", "name": name, "groups": [], "scopes": SCOPES, "admin": False, **fields
        }  # fmt: skip
        return token

    def application(self) -> web.Application:
        """Return the tornado application."""
        hub = self

        class User(web.RequestHandler):
            def get(self) -> None:
                hub.asked += 1
                token = self.request.headers.get("Authorization", "").partition(" ")[2]
                if token not in hub.users:
                    raise web.HTTPError(403)
                self.finish(json.dumps(hub.users[token]))

        return web.Application([("/hub/api/user", User)], log_function=lambda _: None)


class FakeHubServer:
    """A FakeHub that listens, in a thread; a ``with`` yields the address of its API."""

    def __init__(self, fake: FakeHub | None = None) -> None:
        self._fake = fake or FakeHub()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = HTTPServer(self._fake.application())
        sockets = bind_sockets(0, "127.0.0.1")
        self.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/hub/api"
        server.add_sockets(sockets)
        self._ready.set()
        await self._stop.wait()
        server.stop()
        await server.close_all_connections()

    def __enter__(self) -> str:
        self._thread.start()
        assert self._ready.wait(30)
        return self.url

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)


class RunningService:
    """A service that listens, in a thread with an event loop of its own."""

    def __init__(
        self,
        root: Path,
        extensions: Sequence[Extension] | None = None,
        *,
        fake: FakeHub | None = None,
        **settings: Any,
    ) -> None:
        self.fake = fake or FakeHub()
        self.state = StateDir(root).make()
        self._extensions = extensions
        self._settings = settings
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._transports: list[Transport] = []
        self.host: str = settings.get("service_host", "127.0.0.1")
        self.port: int = settings.get("service_port", 0)

    def start(self) -> RunningService:
        """Start and wait until it listens; raises what its start raised."""
        self._thread.start()
        assert self._ready.wait(60)
        if self._error is not None:
            raise self._error
        return self

    def stop(self) -> None:
        """Stop and wait; the transports handed out are closed."""
        for transport in self._transports:
            transport.close()
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)

    def run[T](self, work: Callable[[], T]) -> T:
        """Run a function on the service's loop and return what it returns."""
        assert self._loop is not None

        async def call() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(60)

    @contextmanager
    def still_after(self, wanted: Callable[[str], bool]) -> Iterator[None]:
        """Wait for the answer to a wanted path; for the ``with`` nothing is answered after it."""
        answered, go_on = threading.Event(), threading.Event()
        settings = self.application.settings
        usual = settings["log_function"]

        def log(handler: web.RequestHandler) -> None:
            usual(handler)
            if wanted(handler.request.path) and not answered.is_set():
                answered.set()
                assert go_on.wait(60)

        settings["log_function"] = log
        try:
            assert answered.wait(120), "nobody asked"
            yield
        finally:
            go_on.set()
            settings["log_function"] = usual

    @property
    def url(self) -> str:
        """The service's root."""
        return f"http://{self.host}:{self.port}/services/nablahub"

    def transport(self, name: str = "alice") -> Transport:
        """Return a transport of a user."""
        made = Transport(self.url, f"token-of-{name}", tries=1)
        self._transports.append(made)
        return made

    def hub(self, name: str = "alice") -> Hub:
        """Return a client of a user."""
        return Hub(self.transport(name))

    def _lost(self) -> None:
        """End as a process would that another one leads in place of."""
        self._error = AssertionError("the lease was lost")
        if self._stop is not None:
            self._stop.set()

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - handed to the test's thread
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        hub_server = HTTPServer(self.fake.application())
        hub_sockets = bind_sockets(0, "127.0.0.1")
        hub_server.add_sockets(hub_sockets)
        sockets = bind_sockets(self.port, self.host)
        self.port = sockets[0].getsockname()[1]
        base = {
            "state_dir": self.state.root,
            "public_url": f"http://127.0.0.1:{self.port}",
            "hub_api_url": f"http://127.0.0.1:{hub_sockets[0].getsockname()[1]}/hub/api",
            "service_port": self.port,
        }
        self.settings = Settings.model_validate(
            {
                **base,
                **databases.settings(self.state.root),
                **self._settings,
                "service_port": self.port,
            }
        )
        try:
            self.service = Service(
                self.settings,
                self._extensions,
                address=f"http://{self.host}:{self.port}",
                ended=self._lost,
            )
            await self.service.start()
            await self.service.leading.ready.wait()
        except BaseException:
            hub_server.stop()
            for opened in sockets:
                opened.close()
            raise
        self.application = self.service.application()
        server = HTTPServer(
            self.application,
            max_body_size=self.settings.max_upload_bytes,
            chunk_size=READ_BYTES,
        )
        server.add_sockets(sockets)
        self._ready.set()
        await self._stop.wait()
        server.stop()
        hub_server.stop()
        await self.service.stop()
        await server.close_all_connections()
        await hub_server.close_all_connections()


@contextmanager
def running(
    root: Path, extensions: Sequence[Extension] | None = None, **settings: Any
) -> Iterator[RunningService]:
    """Run the service on a state directory for the length of a ``with``."""
    service = RunningService(root, extensions, **settings).start()
    try:
        yield service
    finally:
        service.stop()
