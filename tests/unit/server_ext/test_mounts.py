"""Mounting by Lab's pages: for the server's owner, and refused in words."""

from __future__ import annotations

import pytest

from tests.unit.server_ext.conftest import Lab


@pytest.mark.asyncio(loop_scope="module")
async def test_a_server_that_shows_no_versions_says_so(lab: Lab) -> None:
    answer = await lab.client.get(f"{lab.url}/nablahub/mounts")
    assert (answer.status_code, answer.json()) == (200, {"here": False, "items": []})


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_only_the_owner_mounts(lab: Lab, method: str) -> None:
    answer = await lab.client.request(
        method, f"{lab.url}/nablahub/mounts", headers={"Cookie": "who=bob"}
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("body", ["", "[]", "{}", '{"dataset": 1}'])
async def test_what_says_no_version_is_malformed(lab: Lab, body: str) -> None:
    headers = {"X-XSRFToken": lab.client.cookies["_xsrf"]}
    answer = await lab.client.post(f"{lab.url}/nablahub/mounts", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")
