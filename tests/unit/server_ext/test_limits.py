"""When a server will be stopped, from what its spawner said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from nablahub_server.limits import Limits
from tests.unit.server_ext.conftest import Lab

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SIX_HOURS = {
    "NABLAHUB_STARTED_AT": "2026-07-01T12:00:00+00:00", "NABLAHUB_MAX_SECONDS": "21600",
    "NABLAHUB_IDLE_SECONDS": "1800", "NABLAHUB_INSTANCE_TYPE": "C4",
}  # fmt: skip


@pytest.mark.parametrize(
    ("now", "idle_for", "next_", "near"),
    [
        (0 * MINUTE, 0 * MINUTE, ("idle", "2026-07-01T12:30:00Z", 1800), False),
        (100 * MINUTE, 21 * MINUTE, ("idle", "2026-07-01T13:49:00Z", 540), True),
        (345 * MINUTE, 0 * MINUTE, ("longest_run", "2026-07-01T18:00:00Z", 900), False),
        (350 * MINUTE, 0 * MINUTE, ("longest_run", "2026-07-01T18:00:00Z", 600), True),
        (361 * MINUTE, 0 * MINUTE, ("longest_run", "2026-07-01T18:00:00Z", 0), True),
    ],
)
def test_the_next_stop(
    now: timedelta, idle_for: timedelta, next_: tuple[str, str, float], near: bool
) -> None:
    at = NOON + now
    first, _ = Limits.read(SIX_HOURS).stops(at, at - idle_for)
    assert (first.reason, first.at, first.seconds_left) == next_
    assert first.near is near


def test_a_short_limit_is_told_when_half_of_it_is_over() -> None:
    limits = Limits.read({"NABLAHUB_IDLE_SECONDS": "60"})
    assert [limits.stops(NOON, NOON - n * MINUTE / 60)[0].near for n in (0, 29, 30)] == [
        False, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "0", "-1", "soon", "nan"])
def test_no_limit_is_no_stop(text: str) -> None:
    said = {**SIX_HOURS, "NABLAHUB_MAX_SECONDS": text, "NABLAHUB_IDLE_SECONDS": text}
    assert Limits.read(said).stops(NOON, NOON) == []
    del said["NABLAHUB_STARTED_AT"]
    assert Limits.read({**said, "NABLAHUB_MAX_SECONDS": "60"}).stops(NOON, NOON) == []


@pytest.mark.asyncio(loop_scope="module")
async def test_only_the_owner_is_told(lab: Lab) -> None:
    answer = await lab.client.get(f"{lab.url}/nablahub/limits")
    assert (answer.status_code, answer.json()) == (200, {"stops": []})
    assert answer.headers["Content-Type"] == "application/json"
    answer = await lab.client.get(f"{lab.url}/nablahub/limits", headers={"Cookie": "who=bob"})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    answer = await lab.client.post(f"{lab.url}/nablahub/limits")  # without the XSRF header
    assert answer.status_code == 403
