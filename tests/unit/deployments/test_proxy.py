"""A Traefik on another machine fetches its routes with a token of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from nablahub.deployments.proxy import PREFIX
from nablahub.deployments.routes import Backend, Route, build, write
from tests.support.service import RunningService, running

TOKEN = PREFIX + "t" * 43


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "proxy-token"
    file.write_text(TOKEN + "\n")
    return file


@pytest.fixture
def service(tmp_path: Path, token_file: Path) -> Iterator[RunningService]:
    elsewhere = "http://nablahub-service:8000"
    with running(tmp_path / "state", proxy_token_file=token_file, service_url=elsewhere) as found:
        yield found


def ask(service: RunningService, token: str, path: str = "/deployment-routes") -> httpx.Response:
    """Ask the service as somebody."""
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{service.url}/api/v1{path}", headers=headers, trust_env=False)


def test_the_proxy_gets_what_the_file_says(service: RunningService) -> None:
    first = ask(service, TOKEN).json()
    (nobody,) = first["http"]["services"].values()
    # Where a proxy on another machine reaches the service, and not its own address.
    assert nobody["loadBalancer"]["servers"] == [{"url": "http://nablahub-service:8000"}]
    wanted = build([Route("d1", main=(Backend(1, ("10.0.0.7:8080",)),))])
    write(service.state.deployments_routes, wanted)
    answer = ask(service, TOKEN)
    assert answer.json() == wanted
    assert answer.headers["Content-Type"].startswith("application/json")


def test_without_a_file_there_are_no_routes(service: RunningService) -> None:
    service.state.deployments_routes.unlink()
    assert ask(service, TOKEN).json() == {}


def test_the_proxy_sees_nothing_else(service: RunningService) -> None:
    service.hub("alice").projects.create("hers")
    assert ask(service, TOKEN, "/projects").json()["items"] == []
    assert ask(service, TOKEN, "/whoami").json()["kind"] == "proxy"


@pytest.mark.parametrize("token", [PREFIX + "u" * 43, PREFIX, TOKEN + "t"])
def test_another_token_opens_nothing(service: RunningService, token: str) -> None:
    assert ask(service, token).status_code == 401


def test_people_get_no_routes(service: RunningService) -> None:
    assert ask(service, "token-of-alice").status_code == 404


@pytest.mark.parametrize("content", ["", "\n", "short", "token-of-alice"])
def test_a_file_without_a_token_of_ours_opens_nothing(
    service: RunningService, token_file: Path, content: str
) -> None:
    token_file.write_text(content)
    assert ask(service, PREFIX + content.strip()).status_code == 401


def test_without_a_file_there_is_no_such_token(tmp_path: Path) -> None:
    with running(tmp_path / "state") as service:
        assert ask(service, TOKEN).status_code == 401
