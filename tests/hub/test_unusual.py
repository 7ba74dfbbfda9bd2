"""Hubs that are set up otherwise: without bubblewrap, with a short patience for idle servers."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.hub import CONFIG, running
from tests.support.kernel import code
from tests.support.namespaces import NO_NAMESPACES, needs_unshare

pytestmark = pytest.mark.hub


@needs_unshare
def test_without_bubblewrap_a_start_says_why_and_what_to_do(tmp_path: Path) -> None:
    with running(tmp_path / "s", wrapper=NO_NAMESPACES) as hub:
        answer = hub.api("POST", "/users/alice/server", token=hub.token("alice"), body={})
        assert answer.status_code == 500
        assert "bubblewrap" in answer.json()["message"]
        assert "--unsandboxed" in answer.json()["message"]


@needs_unshare
def test_going_without_can_be_accepted_knowingly(tmp_path: Path) -> None:
    with running(tmp_path / "s", CONFIG, "--unsandboxed", wrapper=NO_NAMESPACES) as hub:
        server = hub.spawn("alice")
        printed = code(server, "import nablahub, os\nprint(os.getcwd(), os.path.exists('storage'))")
        assert printed.split() == [str(hub.state.homes / "alice"), "True"]
        server.stop()


@pytest.mark.slow
def test_an_idle_server_is_stopped(tmp_path: Path) -> None:
    config = tmp_path / "jupyterhub_config.py"
    config.write_text("c.NablaHub.idle_timeout = 2\n" + CONFIG.read_text())
    with running(tmp_path / "s", config) as hub:
        hub.spawn("alice", instance_type="C3")
        end = time.monotonic() + 60
        while hub.api("GET", "/users/alice").json()["servers"]:
            assert time.monotonic() < end, "the idle server still runs"
            time.sleep(0.2)


def test_a_hub_killed_while_a_server_starts_leaves_no_second_one(tmp_path: Path) -> None:
    with running(tmp_path / "s") as hub:
        token = hub.token("alice")
        hub.api("POST", "/users/alice/server", token=token, body={"instance_type": "C3"})
        hub.kill("hub")
        hub.until_answers("/hub/api/")
        server = hub.spawn("alice", instance_type="C3")
        assert server.request("GET", "/api/status").status_code == 200
        from nablahub_spawner.process import marked
        from tests.support.hub import ours

        marks = {p.environ().get("NABLAHUB_SERVER") for p in ours(hub.state)} - {None}
        assert len(marks) == 1
        assert len(marked(str(marks.pop()))) == 1


def test_more_memory_than_the_type_has_ends_the_biggest_process(tmp_path: Path) -> None:
    types = tmp_path / "types.yaml"
    types.write_text("types: {tiny: {cpus: 1, memory_gib: 0.6}}")
    config = tmp_path / "jupyterhub_config.py"
    config.write_text(f"c.NablaHub.instance_types_file = {str(types)!r}\n" + CONFIG.read_text())
    take = "x = bytearray(2**30); [x.__setitem__(i, 1) for i in range(0, 2**30, 4096)]"
    with running(tmp_path / "s", config) as hub:
        server = hub.spawn("alice", instance_type="tiny")
        printed = server.shell(f"python -c '{take}; import time; time.sleep(60)'; echo status $?")
        assert "status 137" in printed
        assert server.request("GET", "/api/status").status_code == 200
        assert server.shell("nproc").strip() == "1"
