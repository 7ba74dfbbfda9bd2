"""Kill -9 of any part: what runs for people goes on, and the part comes back."""

from __future__ import annotations

import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nablahub_hub.local.config import LocalConfig
from tests.support.hub import RunningHub, running

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


@contextmanager
def a_thief(ports: list[int]) -> Iterator[Counter[str]]:
    """Try again and again to listen on ports, as a job could; yields how often that went."""
    went: Counter[str] = Counter()
    enough = threading.Event()

    def steal() -> None:
        while not enough.is_set():
            for port in ports:
                with socket.socket() as one:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    try:
                        one.bind(("127.0.0.1", port))
                        one.listen()
                    except OSError:
                        went["failed"] += 1
                    else:
                        went[f"took {port}"] += 1
            enough.wait(0.0005)

    thread = threading.Thread(target=steal)
    thread.start()
    try:
        yield went
    finally:
        enough.set()
        thread.join()


@pytest.mark.parametrize(
    ("part", "ports"),
    [
        ("service", ["service_port"]),
        pytest.param("hub", ["hub_port"], marks=pytest.mark.slow),
        pytest.param("traefik", ["port", "traefik_port"], marks=pytest.mark.slow),
    ],
)
def test_nobody_gets_the_port_of_a_killed_part(
    hub: RunningHub, part: str, ports: list[str]
) -> None:
    config = LocalConfig.load(hub.state)
    before = hub.part(part)
    with a_thief([getattr(config, name) for name in ports]) as went:
        hub.kill(part)
        hub.until_answers("/hub/api/")
        hub.until_answers("/services/nablahub/health")
    assert hub.part(part).pid != before.pid
    assert list(went) == ["failed"]


@pytest.mark.slow
def test_up_goes_on_when_nobody_reads_what_it_says(tmp_path: Path) -> None:
    with running(tmp_path / "s", None) as hub:
        assert hub.process is not None
        assert hub.process.stdout is not None
        assert hub.process.stderr is not None
        hub.process.stdout.close()
        hub.process.stderr.close()
        for part in ("service", "traefik"):
            before = hub.part(part)
            hub.kill(part)  # which `up` tells
            hub.until_answers("/services/nablahub/health")
            assert hub.part(part).pid != before.pid
        hub.process.send_signal(signal.SIGTERM)
        assert hub.process.wait(60) == 0
        hub.process = None
