"""The hub's routes in a real Traefik."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from nablahub.jobs.runners.process.ports import free_port
from nablahub_hub.proxy import RoutesProxy

ROUTE = "/user/bob/"


@pytest.fixture
async def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RoutesProxy]:
    """The class as the hub uses it, before a Traefik that takes its time to read a change."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    made = RoutesProxy(
        public_url=f"http://127.0.0.1:{free_port()}/",
        traefik_api_url=f"http://127.0.0.1:{free_port()}",
        traefik_api_username="tests",
        traefik_api_password="secret",
        static_config_file=str(tmp_path / "traefik.toml"),
        dynamic_config_file=str(tmp_path / "routes.toml"),
        traefik_providers_throttle_duration="3s",
    )
    await made.start()
    yield made
    await made.stop()
    made.traefik_process.wait(20)


async def test_an_added_route_leads_to_its_own_target_at_once(proxy: RoutesProxy) -> None:
    with answering("first") as first, answering("second") as second:
        await proxy.add_route(ROUTE, first, {})
        assert await said(proxy) == "first"
        await proxy.delete_route(ROUTE)
        await proxy.add_route(ROUTE, second, {})
        assert await said(proxy) == "second"


@contextmanager
def answering(word: str) -> Iterator[str]:
    """Answer everything with a word, at the address that is given."""

    class Say(RequestHandler):
        def get(self) -> None:
            self.write(word)

    server, port = HTTPServer(Application([(".*", Say)])), free_port()
    server.listen(port, "127.0.0.1")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()


async def said(proxy: RoutesProxy) -> str:
    """Return what somebody gets at the route's public address."""
    answer = await AsyncHTTPClient().fetch(f"{proxy.public_url.rstrip('/')}{ROUTE}")
    return answer.body.decode()
