"""Kill -9 of any part: what runs for people goes on, and the part comes back."""

from __future__ import annotations

import pytest

from tests.support.hub import RunningHub

pytestmark = pytest.mark.hub


@pytest.mark.parametrize("part", ["hub", "traefik", "service"])
def test_a_killed_part_comes_back_and_servers_live_on(hub: RunningHub, part: str) -> None:
    server = hub.spawn("alice", instance_type="C3")
    started = server.request("GET", "/api/status").json()["started"]
    before = hub.part(part)
    hub.kill(part)
    hub.until_answers("/hub/api/")
    hub.until_answers("/services/nablahub/health")
    hub.until_answers("/user/alice/api")
    assert hub.part(part).pid != before.pid
    status = server.request("GET", "/api/status")
    assert (status.status_code, status.json()["started"]) == (200, started)
    assert hub.api("GET", "/users/alice").json()["servers"][""]["ready"]
    assert hub.transport().get("/whoami")["name"] == "alice"


def test_a_server_found_again_can_be_stopped(hub: RunningHub) -> None:
    server = hub.spawn("bob", instance_type="C3")
    hub.kill("hub")
    hub.until_answers("/hub/api/")
    server.stop()
    assert server.request("GET", "/api/status").status_code != 200
