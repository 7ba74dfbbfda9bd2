"""The routes that Traefik gets, compared whole, and taken up by a real Traefik."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from nablahub.deployments.routes import Backend, Route, build, endpoint, write
from tests.unit.deployments.local import traefik


def part(version: int, *addresses: str) -> dict[str, object]:
    """The servers of a version."""
    return {
        "middlewares": [f"deployment-u1-v{version}"],
        "loadBalancer": {
            "servers": [{"url": f"http://{address}"} for address in addresses],
            "passHostHeader": True,
            "serversTransport": "nablahub-deployments",
        },
    }


def stamp(version: str) -> dict[str, object]:
    """What says in an answer which version it is."""
    return {"headers": {"customResponseHeaders": {"X-Nablahub-Deployment-Version": version}}}


ROUTER = {
    "entryPoints": ["http"],
    "rule": "(Path(`/deployments/u1`) || PathPrefix(`/deployments/u1/`))",
    "priority": 100_000,
    "middlewares": ["nablahub-deployments", "deployment-u1-strip"],
    "service": "deployment-u1-v3",
}
GUARD = {
    "headers": {
        "customRequestHeaders": {"Cookie": "", "X-Nablahub-Canary": ""},
        "customResponseHeaders": {
            "Content-Security-Policy": "sandbox allow-scripts",
            "X-Content-Type-Options": "nosniff",
            "Set-Cookie": "",
            "Service-Worker-Allowed": "",
            "Clear-Site-Data": "",
        },
    }
}


def test_the_whole_configuration() -> None:
    route = Route("u1", (Backend(3, ("127.0.0.1:9001", "127.0.0.1:9002")),))
    assert build([route]) == {
        "http": {
            "routers": {"deployment-u1": ROUTER},
            "services": {"deployment-u1-v3": part(3, "127.0.0.1:9001", "127.0.0.1:9002")},
            "middlewares": {
                "deployment-u1-strip": {"stripPrefix": {"prefixes": ["/deployments/u1"]}},
                "deployment-u1-v3": stamp("3"),
                "nablahub-deployments": GUARD,
            },
            "serversTransports": {
                "nablahub-deployments": {"forwardingTimeouts": {"idleConnTimeout": "2s"}}
            },
        }
    }


def test_two_versions_share_the_traffic_by_weight() -> None:
    old, new = Backend(2, ("10.0.0.2:8080",), weight=3), Backend(3, ("10.0.0.3:8080",))
    made = build([Route("u1", (old, new, Backend(4, ())))])["http"]
    assert made["routers"] == {"deployment-u1": {**ROUTER, "service": "deployment-u1"}}
    shares = [
        {"name": "deployment-u1-v2", "weight": 3}, {"name": "deployment-u1-v3", "weight": 1}
    ]  # fmt: skip
    assert made["services"] == {
        "deployment-u1": {"weighted": {"services": shares}},
        "deployment-u1-v2": part(2, "10.0.0.2:8080"),
        "deployment-u1-v3": part(3, "10.0.0.3:8080"),
    }


def test_nothing_to_route_is_nothing() -> None:
    assert build([]) == {}
    assert build([Route("u1"), Route("u2", (Backend(1, ()),), Backend(2, ()))]) == {}


def test_the_file_is_replaced_whole_and_only_when_it_differs(tmp_path: Path) -> None:
    path = tmp_path / "dynamic" / "deployments.yaml"
    assert not write(path, {})
    assert not path.exists()
    found = build([Route("u1", (Backend(1, ("127.0.0.1:1",)),))])
    assert write(path, found)
    assert not write(path, found)
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text()) == found
    assert write(path, {})
    assert [p.name for p in path.parent.iterdir()] == ["deployments.yaml"]


def test_the_endpoint() -> None:
    assert endpoint("http://h:1/", "u1") == "http://h:1/deployments/u1"


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked, and tries to set what it must not."""

    def do_GET(self) -> None:
        body = json.dumps({"path": self.path, "headers": dict(self.headers.items())}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", "session=stolen")
        self.send_header("Content-Security-Policy", "default-src *")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def echo() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_traefik_routes_strips_and_guards(tmp_path: Path, echo: str) -> None:
    dynamic = tmp_path / "dynamic"
    main, canary = Backend(1, (echo,)), Backend(2, (echo,))
    shared = (Backend(3, (echo,), weight=3), Backend(4, (echo,), weight=1))
    routes = [Route("u1", (main,), canary, "s3cret"), Route("u2"), Route("u3", shared)]
    write(dynamic / "deployments.yaml", build(routes))
    with traefik(dynamic, tmp_path) as url, httpx.Client(trust_env=False) as client:
        asked = client.get(f"{url}/deployments/u1/v2/x?q=1", headers={"Cookie": "hub=1"})
        assert asked.json()["path"] == "/v2/x?q=1"
        assert "cookie" not in {name.lower() for name in asked.json()["headers"]}
        assert asked.headers["x-nablahub-deployment-version"] == "1"
        assert asked.headers["content-security-policy"] == "sandbox allow-scripts"
        assert asked.headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in asked.headers
        secret = client.get(f"{url}/deployments/u1/x", headers={"X-Nablahub-Canary": "s3cret"})
        assert secret.headers["x-nablahub-deployment-version"] == "2"
        assert "x-nablahub-canary" not in {name.lower() for name in secret.json()["headers"]}
        guessed = client.get(f"{url}/deployments/u1/x", headers={"X-Nablahub-Canary": "guess"})
        assert guessed.headers["x-nablahub-deployment-version"] == "1"
        assert client.get(f"{url}/deployments/u2/v2").status_code == 404
        answers = [client.get(f"{url}/deployments/u3/x") for _ in range(8)]
        versions = [each.headers["x-nablahub-deployment-version"] for each in answers]
        assert sorted(versions) == ["3"] * 6 + ["4"] * 2
        assert client.get(f"{url}/deployments/u12/v2").status_code == 404


def test_where_no_deployment_is_somebody_answers(tmp_path: Path, echo: str) -> None:
    dynamic = tmp_path / "dynamic"
    routes = [Route("u1", (Backend(1, (echo,)),))]
    with traefik(dynamic, tmp_path) as url, httpx.Client(trust_env=False) as client:
        for found, served in ((routes, "/x"), ([], "/deployments/u1/x")):
            write(dynamic / "deployments.yaml", build(found, otherwise=f"http://{echo}"))
            for path in ("/deployments", "/deployments/u12/x"):
                # Traefik takes up a file a moment after it was written.
                while (answer := client.get(url + path)).status_code == 404:
                    pass
                assert answer.json()["path"] == path
            while client.get(f"{url}/deployments/u1/x").json()["path"] != served:
                pass
        assert client.get(f"{url}/deploymentsx").status_code == 404
