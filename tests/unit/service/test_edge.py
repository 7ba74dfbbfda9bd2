"""The edge of the service: who may come in, what the document says, how errors look."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
from collections.abc import Iterator
from http.client import HTTPResponse

import httpx
import pytest
from openapi_spec_validator import validate

from nablahub.core import errors
from nablahub.core.operations import last_event_id
from nablahub.service.problems import STATUS
from tests.support.service import RunningService, running

#: Routes that answer without a token; each must say nothing about anybody.
PUBLIC = {
    ("GET", "/services/nablahub/health"),
    ("GET", "/services/nablahub/api/openapi.json"),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running(tmp_path_factory.mktemp("state"), introspection_seconds=0) as found:
        yield found


@pytest.fixture
def http(service: RunningService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url.removesuffix("/services/nablahub")) as client:
        yield client


def routes(service: RunningService) -> list[tuple[str, str]]:
    document = service.service.document
    found = [(m.upper(), path) for path, methods in document["paths"].items() for m in methods]
    found.append(("GET", "/services/nablahub/api/openapi.json"))
    return found


def test_every_route_wants_a_token(service: RunningService, http: httpx.Client) -> None:
    walked = routes(service)
    assert len(walked) > 10
    for method, path in walked:
        plain = path.replace("{", "x").replace("}", "x")
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Cookie": "jupyterhub-hub-login=x"},
        ):
            status = http.request(method, plain, headers=headers).status_code
            if (method, path) in PUBLIC:
                assert status == 200, (method, path)
            else:
                assert status == 401, (method, path, headers)


def test_the_document_is_valid_openapi_and_names_every_scope(http: httpx.Client) -> None:
    document = http.get("/services/nablahub/api/openapi.json").json()
    validate(document)
    assert document["openapi"].startswith("3.1")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], path
            assert operation["security"] == [] if "x-scope" not in operation else True
            assert (method.upper(), path) in PUBLIC or operation["x-scope"]


def test_a_token_without_the_scope_may_read_but_not_write(
    service: RunningService, http: httpx.Client
) -> None:
    token = service.fake.add("reader", scopes=["custom:nablahub:read"])
    headers = {"Authorization": f"Bearer {token}"}
    assert http.get("/services/nablahub/api/v1/projects", headers=headers).status_code == 200
    answer = http.post("/services/nablahub/api/v1/projects", headers=headers, json={"name": "x"})
    assert answer.status_code == 403
    assert "custom:nablahub:write" in answer.json()["detail"]


def test_a_revoked_token_is_dead(service: RunningService) -> None:
    service.fake.add("leaver")
    hub = service.transport("leaver")
    assert hub.get("/whoami")["name"] == "leaver"
    del service.fake.users["token-of-leaver"]
    with pytest.raises(errors.Unauthenticated):
        hub.get("/whoami")


def test_members_of_a_group_share_and_leave(service: RunningService) -> None:
    service.fake.add("dora", groups=["vision"])
    service.fake.add("emil", groups=["vision"])
    made = service.hub("dora").projects.create("shared", team="vision")
    assert service.hub("emil").projects.get(made.id).name == "shared"
    service.fake.add("emil", groups=[])
    with pytest.raises(errors.NotFound):
        service.hub("emil").projects.get(made.id)


def test_errors_are_problem_documents(service: RunningService, http: httpx.Client) -> None:
    headers = {"Authorization": "Bearer token-of-alice"}
    answer = http.get("/services/nablahub/api/v1/projects/pnothing", headers=headers)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert set(answer.json()) >= {"type", "title", "status", "detail", "code", "hint"}
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    wrong = http.put("/services/nablahub/api/v1/projects", headers=headers)
    assert wrong.status_code == 405
    assert wrong.headers["Allow"] == "GET, POST"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/elsewhere", "no_such_route"),
        ("/deployments", "no_deployment_there"),
        ("/deployments/<b>gone/v2/models", "no_deployment_there"),
    ],
)
def test_where_nothing_is_words_say_so(http: httpx.Client, path: str, code: str) -> None:
    for method in ("GET", "POST"):
        answer = http.request(method, path)
        assert (answer.status_code, answer.headers["Content-Type"]) == (
            404,
            "application/problem+json",
        )
        assert answer.json()["code"] == code
        assert path.replace("<b>", "%3Cb%3E") in answer.json()["detail"]
        assert answer.json()["hint"]
    page = http.get(path, headers={"Accept": "text/html,*/*;q=0.8"})
    assert (page.status_code, page.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert "<h1>Not found</h1>" in page.text
    assert '/hub/home">' in page.text
    # The one style sheet is allowed by its hash; backticks are code.
    style = page.text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = page.headers["Content-Security-Policy"]
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "`" not in page.text
    assert "<b>" not in page.text


def test_every_error_has_a_status_and_its_own_code() -> None:
    codes: dict[str, type[errors.NablaError]] = {}
    todo = [errors.NablaError]
    while todo:
        cls = todo.pop()
        assert any(base in STATUS for base in cls.__mro__)
        if "code" in vars(cls):  # Without one it is a case of its parent.
            assert codes.setdefault(cls.code, cls) is cls
        todo.extend(cls.__subclasses__())


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=many", "cursor=xx", "sort=password", "unknown=1"]
)
def test_bad_queries_name_the_parameter(http: httpx.Client, query: str) -> None:
    headers = {"Authorization": "Bearer token-of-alice"}
    answer = http.get(f"/services/nablahub/api/v1/projects?{query}", headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/" + query.partition("=")[0]


def test_a_body_above_the_limit_is_refused_unread(http: httpx.Client) -> None:
    headers = {"Authorization": "Bearer token-of-alice"}
    big = json.dumps({"name": "x" * 9_000_000})
    answer = http.post("/services/nablahub/api/v1/projects", content=big, headers=headers)
    assert answer.status_code == 413
    assert "8388608" in answer.json()["detail"]


def test_a_client_that_sends_all_before_it_listens_hears_of_its_refusal(
    service: RunningService,
) -> None:
    """Nobody's request, and a stream of somebody's that fails before it reads its body."""
    size = 64 * 1024**2  # Far above what the buffers between the two hold.
    for path, token, code in (
        ("/projects", "wrong", "unauthenticated"),
        ("/datasets/nothing/uploads/u/packs/" + "0" * 64, "token-of-alice", "no_such_dataset"),
    ):
        with socket.create_connection(("127.0.0.1", service.port), timeout=60) as line:
            method = "POST" if path == "/projects" else "PUT"
            line.sendall(
                f"{method} /services/nablahub/api/v1{path} HTTP/1.1\r\nHost: here\r\n"
                f"Authorization: Bearer {token}\r\nContent-Length: {size}\r\n\r\n".encode()
            )
            line.sendall(bytes(size))
            answer = HTTPResponse(line)
            answer.begin()
            assert json.loads(answer.read())["code"] == code


@pytest.mark.parametrize(
    "cursor",
    [
        '["-created_at","0001-01-01T00:00:00+14:00","a"]',
        '["-created_at","2026-01-01T00:00:00Z",100000000000000000000]',
        '["-created_at","2026-01-01T00:00:00Z","\\ud800"]',
        '["-created_at","2026-01-01T00:00:00Z",true]',
        "[" * 20_000,
    ],
    ids=["before time", "big", "surrogate", "bool", "deep"],
)
def test_a_made_up_cursor_is_refused(cursor: str, http: httpx.Client) -> None:
    query = {"cursor": base64.urlsafe_b64encode(cursor.encode()).decode()}
    headers = {"Authorization": "Bearer token-of-alice"}
    answer = http.get("/services/nablahub/api/v1/projects", params=query, headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/cursor")


def test_deep_json_is_refused(http: httpx.Client) -> None:
    headers = {"Authorization": "Bearer token-of-alice"}
    deep = "[" * 100_000 + "]" * 100_000
    answer = http.post("/services/nablahub/api/v1/projects", content=deep, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


def test_a_refusal_before_the_body_ends_the_connection(http: httpx.Client) -> None:
    headers = {"Authorization": "Bearer token-of-alice"}
    answer = http.get("/services/nablahub/api/v1/projects?limit=%ff", headers=headers)
    assert (answer.status_code, answer.headers["Connection"]) == (400, "close")


@pytest.mark.parametrize("given", ["9" * 26, "²", "-1", "1e3", "٣", "9223372036854775808"])
def test_a_made_up_last_event_id_is_none(http: httpx.Client, given: str) -> None:
    headers = [
        (b"Authorization", b"Bearer token-of-alice"),
        (b"Last-Event-ID", given.encode("utf-8")),
    ]
    with http.stream("GET", "/services/nablahub/api/v1/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert next(answer.iter_text()).startswith(": listening after ")
    assert last_event_id({"Last-Event-ID": given}) is None
    assert last_event_id({"Last-Event-ID": "17"}) == 17


@pytest.mark.parametrize("path", ["events?after", "jobs/jnone/logs?offset"])
def test_a_number_beyond_all_is_refused(http: httpx.Client, path: str) -> None:
    headers = {"Authorization": "Bearer token-of-alice"}
    answer = http.get(f"/services/nablahub/api/v1/{path}=9999999999999999999", headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/" + path.partition("?")[2]


@pytest.mark.parametrize("spec", [r'jobs: "\ud800"', r'"\udfff": 1'])
@pytest.mark.parametrize("path", ["workflow-validations", "workflows", "deployments"])
def test_half_a_character_in_a_spec_is_refused(
    service: RunningService, http: httpx.Client, path: str, spec: str
) -> None:
    headers = {"Authorization": "Bearer token-of-alice"}
    body = {"spec": spec}
    if path != "workflow-validations":
        projects = list(service.hub("alice").projects.list())
        made = projects or [service.hub("alice").projects.create("halves")]
        body["project" if path == "workflows" else "project_id"] = made[0].id
    answer = http.post(f"/services/nablahub/api/v1/{path}", json=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_spec")
    raw = json.dumps(body).replace(json.dumps(spec), r'"jobs: \ud800"')
    answer = http.post(f"/services/nablahub/api/v1/{path}", content=raw, headers=headers)
    assert answer.status_code in (400, 422)


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"command": ["a", "b\0"]}, "/command/1"),
        ({"env": {"A": "\0"}}, "/env/A"),
        ({"files": {"a": "\0"}}, "/files/a"),
        ({"files": {"a\0": ""}}, "/files/a\0/[key]"),
    ],
)
def test_nul_in_a_job_names_the_field(
    http: httpx.Client, fields: dict[str, object], pointer: str
) -> None:
    headers = {"Authorization": "Bearer token-of-alice"}
    body = {"project": "p", "command": ["true"], **fields}
    answer = http.post("/services/nablahub/api/v1/jobs", json=body, headers=headers)
    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]
