"""The extension in a real Jupyter server, in front of a real upstream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.unit.server_ext.conftest import Lab, Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")


def xsrf(lab: Lab) -> dict[str, str]:
    return {"X-XSRFToken": lab.client.cookies["_xsrf"]}


async def test_a_call_reaches_the_service_as_the_servers_user(lab: Lab, upstream: Upstream) -> None:
    answer = await lab.client.get(
        lab.api("projects?limit=2&token=mine"),
        headers={
            "X-XSRFToken": lab.client.cookies["_xsrf"],
            "Authorization": "Bearer browser",
            "X-Forwarded-For": "1.2.3.4",
            "If-None-Match": '"3"',
        },
    )
    assert answer.json() == {"method": "GET", "bytes": 0}
    (seen,) = upstream.seen
    assert seen.uri == "/services/nablahub/api/v1/projects?limit=2"
    assert seen.headers["Authorization"] == "Bearer the-server-token"
    assert seen.headers["If-None-Match"] == '"3"'
    assert not {"Cookie", "X-Xsrftoken", "X-Forwarded-For", "Referer"} & set(seen.headers)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_bodies_pass_unchanged(lab: Lab, upstream: Upstream, method: str) -> None:
    body = b'{"name": "showcase"}'
    headers = {**xsrf(lab), "Content-Type": "application/json", "Idempotency-Key": "k1"}
    answer = await lab.client.request(method, lab.api("projects"), content=body, headers=headers)
    assert answer.json() == {"method": method, "bytes": len(body)}
    assert upstream.seen[0].body == body
    assert upstream.seen[0].headers["Idempotency-Key"] == "k1"
    assert upstream.seen[0].headers["Content-Length"] == str(len(body))


async def test_a_large_upload_streams_through(lab: Lab, upstream: Upstream) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"x" * 1_000_000

    answer = await lab.client.put(lab.api("up"), content=chunks(), headers=xsrf(lab))
    assert answer.json()["bytes"] == 64_000_000
    assert upstream.seen[0].headers["Transfer-Encoding"] == "chunked"


async def test_status_and_headers_come_back(lab: Lab) -> None:
    answer = await lab.client.post(lab.api("made"), headers=xsrf(lab))
    assert answer.status_code == 201
    assert answer.headers["ETag"] == '"7"'
    assert answer.headers["Location"] == "/user/alice/nablahub/api/projects/p1"
    assert "stolen" not in answer.headers.get("Set-Cookie", "")
    empty = await lab.client.delete(lab.api("empty"), headers=xsrf(lab))
    assert (empty.status_code, empty.content) == (204, b"")


async def test_a_redirect_is_neither_followed_nor_passed_on(lab: Lab) -> None:
    answer = await lab.client.get(lab.api("moved"), headers=xsrf(lab))
    assert answer.status_code == 302
    assert "Location" not in answer.headers


async def test_a_page_that_users_wrote_runs_in_a_sandbox(lab: Lab) -> None:
    answer = await lab.client.get(lab.api("page.html"), headers=xsrf(lab))
    assert answer.headers["Content-Type"] == "text/html"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_events_arrive_one_by_one(lab: Lab, upstream: Upstream) -> None:
    headers = {**xsrf(lab), "Last-Event-ID": "0", "Accept": "text/event-stream"}
    async with lab.client.stream("GET", lab.api("events"), headers=headers) as stream:
        lines = stream.aiter_lines()
        assert [await anext(lines) for _ in range(3)] == ["id: 1", "data: first", ""]
        upstream.release.set()  # the second is sent only after the first was read here
        assert [await anext(lines) for _ in range(3)] == ["id: 2", "data: second", ""]
    assert upstream.seen[0].headers["Last-Event-Id"] == "0"


async def test_the_service_is_let_go_when_the_browser_leaves(lab: Lab, upstream: Upstream) -> None:
    async with lab.client.stream("GET", lab.api("events"), headers=xsrf(lab)) as stream:
        await anext(stream.aiter_lines())
    async with asyncio.timeout(20):
        await upstream.left.wait()


async def test_an_answer_that_breaks_off_does_not_look_whole(lab: Lab) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await lab.client.get(lab.api("breaks"), headers=xsrf(lab))


async def test_another_user_is_refused(lab: Lab, upstream: Upstream) -> None:
    async with httpx.AsyncClient(cookies={"who": "mallory"}, trust_env=False) as client:
        answer = await client.get(lab.api("projects"))
    assert answer.status_code == 403
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"] == "Only alice may use NablaHub through this server."
    assert answer.headers["Connection"] == "close"
    assert upstream.seen == []


async def test_nobody_is_refused(lab: Lab, upstream: Upstream) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(lab.api("projects"))
    assert answer.status_code == 403
    assert upstream.seen == []


async def test_a_call_without_the_xsrf_token_is_refused(lab: Lab, upstream: Upstream) -> None:
    answer = await lab.client.post(lab.api("projects"), json={"name": "x"})
    assert answer.status_code == 403
    assert answer.json()["code"] == "forbidden"
    assert answer.headers["Connection"] == "close", "its body has not been read"
    assert upstream.seen == []


async def test_a_path_that_climbs_is_refused(lab: Lab, upstream: Upstream) -> None:
    answer = await lab.client.get(lab.api("a/%2e%2e/%2e%2e/hub"), headers=xsrf(lab))
    assert answer.status_code == 400
    assert answer.headers["Connection"] == "close", "it was refused before it was read"
    assert upstream.seen == []


async def test_calls_are_no_activity(lab: Lab) -> None:
    before = (await lab.client.get(f"{lab.url}/api/status?no_track_activity=1")).json()
    await lab.client.get(lab.api("projects"), headers=xsrf(lab))
    after = (await lab.client.get(f"{lab.url}/api/status?no_track_activity=1")).json()
    assert after["last_activity"] == before["last_activity"]


async def test_a_service_that_is_away_is_told_in_words(lost_lab: Lab) -> None:
    answer = await lost_lab.client.post(
        lost_lab.api("projects"), content=b"x" * 3_000_000, headers=xsrf(lost_lab)
    )
    assert answer.status_code == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "unavailable"
    assert "does not answer" in answer.json()["detail"]
    assert answer.json()["hint"]
