"""Two users and the live route table: what is one's does not exist for the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from tests.security.makers import Maker, Request
from tests.security.requests import ADMINS, API, NOBODYS, OWNED, PODS, PROXYS
from tests.security.world import World, build
from tests.support.hub import RunningHub
from tests.support.s3 import KEY, REGION, SECRET, SeaweedFS

#: Routes that need no token; each must say nothing about anybody.
PUBLIC = {("GET", "//health"), ("GET", "//api/openapi.json")}

pytestmark = pytest.mark.hub


@pytest.fixture(scope="module")
def world(hub: RunningHub, s3: SeaweedFS, tmp_path_factory: pytest.TempPathFactory) -> World:
    bucket = {
        "bucket": s3.bucket(), "access_key": KEY, "secret_key": SECRET, "endpoint": s3.endpoint,
        "region": REGION,
    }  # fmt: skip
    return build(hub.client("alice"), tmp_path_factory.mktemp("walk"), bucket)


@pytest.fixture(scope="module")
def document(hub: RunningHub) -> dict[str, Any]:
    """The OpenAPI document of the running service."""
    found: dict[str, Any] = httpx.get(f"{hub.service_url}/api/openapi.json", trust_env=False).json()
    return found


@pytest.fixture(scope="module")
def routes(document: dict[str, Any]) -> set[tuple[str, str]]:
    """The route table as the running service tells it."""
    found = {("GET", "//api/openapi.json")}
    for path, methods in document["paths"].items():
        below = path.removeprefix("/services/nablahub")
        known = below.removeprefix(API) if below.startswith(API) else f"/{below}"
        found |= {(method.upper(), known) for method in methods}
    return found


@pytest.fixture(scope="module")
def http(hub: RunningHub) -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=60) as client:
        yield client


def send(
    http: httpx.Client, hub: RunningHub, method: str, asked: Request, token: str | None
) -> httpx.Response:
    """Send a request as somebody; a live stream is left after its first bytes."""
    below = asked.path[1:] if asked.path.startswith("//") else API + asked.path
    headers = dict(asked.headers)
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    request = http.build_request(
        method, hub.service_url + below, params=asked.query, headers=headers,
        **({"json": asked.body} if asked.content is None and asked.body is not None
           else {"content": asked.content}),
    )  # fmt: skip
    answer = http.send(request, stream=True)
    if "event-stream" in answer.headers.get("content-type", ""):
        next(answer.iter_raw(), b"")
    else:
        answer.read()
    answer.close()
    return answer


def check_documented(document: dict[str, Any], route: tuple[str, str], answer: Any) -> None:
    """Fail unless an answer is what the document says of its operation."""
    method, path = route
    below = path[1:] if path.startswith("//") else API + path
    operation = document["paths"]["/services/nablahub" + below][method.lower()]
    known = operation["responses"]
    assert str(answer.status_code) in known or answer.is_error, (route, answer.status_code)
    content = known.get(str(answer.status_code), known["default"]).get("content", {})
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if method == "HEAD" or not content:
        return
    assert kind in content or "*/*" in content, (route, kind, sorted(content))
    schema = content.get(kind, {}).get("schema")
    if schema is not None:
        whole = {**schema, "components": document["components"]}
        Draft202012Validator(whole).validate(answer.json())


def test_the_walk_knows_every_route(routes: set[tuple[str, str]]) -> None:
    assert (
        routes
        == OWNED.keys() | NOBODYS.keys() | PODS.keys() | PROXYS.keys() | ADMINS.keys() | PUBLIC
    )
    assert not OWNED.keys() & NOBODYS.keys()


@pytest.mark.parametrize("route", sorted(OWNED), ids=" ".join)
def test_what_is_alices_does_not_exist_for_bob(
    route: tuple[str, str],
    http: httpx.Client,
    hub: RunningHub,
    world: World,
    document: dict[str, Any],
) -> None:
    method, make = route[0], OWNED[route]
    succeeded = send(http, hub, method, make(world), hub.token("alice"))
    assert 200 <= succeeded.status_code < 300, succeeded.text
    check_documented(document, route, succeeded)
    # Made anew: what the first request used up must not be what hides it from the second.
    refused = send(http, hub, method, make(world), hub.token("bob"))
    assert refused.status_code == 404, refused.status_code
    check_documented(document, route, refused)
    if method != "HEAD":
        assert refused.json()["code"], refused.text


@pytest.mark.parametrize("route", sorted(NOBODYS), ids=" ".join)
def test_what_is_nobodys_tells_nothing_of_alice(
    route: tuple[str, str], http: httpx.Client, hub: RunningHub, world: World
) -> None:
    answer = send(http, hub, route[0], NOBODYS[route](world), hub.token("bob"))
    assert answer.status_code == 200
    assert not [known for known in world.ids() if known in answer.text]


@pytest.mark.parametrize("route", sorted(PROXYS), ids=" ".join)
def test_what_is_the_proxys_does_not_exist_for_people(
    route: tuple[str, str], http: httpx.Client, hub: RunningHub, world: World
) -> None:
    for name in ("alice", "bob"):
        answer = send(http, hub, route[0], PROXYS[route](world), hub.token(name))
        assert answer.status_code == 404


@pytest.mark.parametrize("route", sorted(ADMINS), ids=" ".join)
def test_what_is_for_administrators_is_refused_to_others(
    route: tuple[str, str], http: httpx.Client, hub: RunningHub, world: World
) -> None:
    for name in ("alice", "bob"):
        answer = send(http, hub, route[0], ADMINS[route](world), hub.token(name))
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize("name", ["alice", "bob"])
@pytest.mark.parametrize("route", sorted(PODS), ids=" ".join)
def test_what_is_a_pods_is_refused_to_every_user(
    route: tuple[str, str], name: str, http: httpx.Client, hub: RunningHub, world: World
) -> None:
    answer = send(http, hub, route[0], PODS[route](world), hub.token(name))
    # Before anything is looked up: whether there is such a job is not told by that.
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), answer.text


@pytest.mark.parametrize("token", [None, "x", "wrong", "nhr_wrong", "nhk_wrong", "nht_wrong"])
def test_without_a_token_nothing_is_said(
    token: str | None, http: httpx.Client, hub: RunningHub, world: World
) -> None:
    makers: dict[tuple[str, str], Maker] = {**OWNED, **NOBODYS, **PROXYS, **PODS, **ADMINS}
    for (method, path), make in makers.items():
        answer = send(http, hub, method, make(world), token)
        assert answer.status_code in (401, 403), (method, path, answer.status_code)
    for method, path in PUBLIC:
        answer = send(http, hub, method, Request(path), token)
        assert answer.status_code == 200
        assert "alice" not in answer.text


def test_an_expired_or_revoked_token_is_dead(http: httpx.Client, hub: RunningHub) -> None:
    made = hub.api("POST", "/users/carol/tokens", body={"note": "short"}).json()
    asked = Request("/whoami")
    assert send(http, hub, "GET", asked, made["token"]).status_code == 200
    hub.api("DELETE", f"/users/carol/tokens/{made['id']}")
    expired = hub.api("POST", "/users/carol/tokens", body={"note": "x", "expires_in": 1}).json()
    for token in (made["token"], expired["token"]):
        # Remembered for at most ten seconds: asked again until then, and at last dead.
        answers = (send(http, hub, "GET", asked, token) for _ in range(100_000))
        answer = next(a for a in answers if a.status_code == 401 or a.is_error)
        assert answer.status_code == 401
        assert answer.json()["hint"]
