"""Health on a port of its own, without a key."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx

from nablahub.jobs.runners.process.ports import free_port
from tests.support.waiting import until
from tests.unit.serving.process import KEY, ModelServer, write_keys


def test_ready_is_loaded_with_known_keys_and_not_draining(iris_file: Path, tmp_path: Path) -> None:
    port = free_port()

    def status(path: str) -> int:
        try:
            return httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False).status_code
        except httpx.TransportError:
            return 0

    arguments = ["--health-port", str(port), "--linger", "60", "--drain", "60"]
    with ModelServer(iris_file, tmp_path, arguments) as server:
        until(lambda: status("/live") == 200, "it lives")
        assert (status("/ready"), status("/v2"), status("/")) == (503, 404, 404)
        write_keys(tmp_path, [KEY])
        until(lambda: status("/ready") == 200, "it is ready")
        server.ready()
        with server.client() as client:  # Its connection stays open, so the server lingers.
            assert client.get("/v2").status_code == 200
            server.process.send_signal(signal.SIGTERM)
            until(lambda: status("/ready") == 503, "it drains")
            assert status("/live") == 200
            answer = client.get("/v2")
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert server.process.wait(20) == 0


def test_without_a_health_port_there_is_none(iris_file: Path, keys: Path) -> None:
    with ModelServer(iris_file, keys) as server, server.ready().client() as client:
        assert client.get("/ready").status_code == 404
