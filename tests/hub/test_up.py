"""``nablahub up``, ``down``, ``status`` and ``doctor`` as people run them."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import httpx
import pytest

from nablahub_hub.local.config import LocalConfig
from tests.support.hub import RunningHub, ours, run, running

pytestmark = pytest.mark.hub


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> object:
    """A hub of one user, as `nablahub up` without any configuration makes it."""
    with running(tmp_path_factory.mktemp("alone") / "with space", None) as hub:
        yield hub


def test_a_link_signs_in_once(alone: RunningHub) -> None:
    link = alone.told["sign_in"]
    with httpx.Client(follow_redirects=True, trust_env=False) as browser:
        page = browser.get(link)
        assert page.url.path == "/hub/spawn"
        assert page.status_code == 200
    with httpx.Client(follow_redirects=True, trust_env=False) as other:
        again = other.get(link)
        assert again.status_code == 403
        assert "used already" in again.text


def test_the_password_signs_in_the_one_user(alone: RunningHub) -> None:
    config = LocalConfig.load(alone.state)
    assert config is not None
    password = alone.state.secret("admin_password")
    assert len(password) >= 32
    assert (alone.state.secrets / "admin_password").stat().st_mode & 0o777 == 0o600
    for name, word, good in (
        (config.owner, password, True),
        (config.owner, "wrong", False),
        ("somebody", password, False),
    ):
        with httpx.Client(follow_redirects=True, trust_env=False) as browser:
            browser.get(f"{alone.url}/hub/login")
            answer = browser.post(
                f"{alone.url}/hub/login",
                data={"username": name, "password": word, "_xsrf": browser.cookies["_xsrf"]},
            )
            assert (answer.status_code == 200) is good, name


def test_where_nothing_is_a_page_says_so_and_the_way_out(alone: RunningHub) -> None:
    with httpx.Client(
        base_url=alone.url, follow_redirects=True, trust_env=False, headers={"Accept": "text/html"}
    ) as browser:
        nowhere = browser.get("/nowhere")
        assert nowhere.status_code == 404
        assert "There is nothing here" in nowhere.text
        assert 'href="/hub/home"' in nowhere.text
        gone = browser.get("/deployments/gone/v2")
        assert gone.status_code == 404
        assert "No deployment has the address /deployments/gone/v2" in gone.text
        program = browser.post("/deployments/gone/v2", headers={"Accept": "*/*"}, json={})
        assert program.json()["code"] == "no_deployment_there"


def test_the_command_line_finds_the_hub(alone: RunningHub) -> None:
    client = json.loads(alone.state.client.read_text())
    assert alone.state.client.stat().st_mode & 0o777 == 0o600
    listed = run("teams", "list", "--json", NABLAHUB_STATE_DIR=str(alone.state.root))
    assert listed.returncode == 0, listed.stderr
    assert client["url"] == alone.service_url


def test_a_second_up_attaches_and_prints_a_link(alone: RunningHub) -> None:
    second = run("up", "--state-dir", str(alone.state.root), "--json")
    assert second.returncode == 0, second.stderr
    told = json.loads(second.stdout)
    assert (told["url"], told["pid"]) == (alone.url, alone.told["pid"])
    assert httpx.get(told["sign_in"], trust_env=False).status_code == 302


def test_status_names_the_parts(alone: RunningHub) -> None:
    found = json.loads(run("status", "--json", "--state-dir", str(alone.state.root)).stdout)
    assert found["running"]
    assert {part["name"]: part["answers"] for part in found["parts"]} == {
        "traefik": True, "hub": True, "service": True,
    }  # fmt: skip


def test_only_the_loopback_is_listened_on(alone: RunningHub) -> None:
    listening = {
        connection.laddr.ip
        for process in ours(alone.state)
        for connection in process.net_connections("tcp")
        if connection.status == "LISTEN"
    }
    assert listening == {"127.0.0.1"}


def test_the_spawn_page_shows_cards(alone: RunningHub) -> None:
    link = json.loads(run("up", "--state-dir", str(alone.state.root), "--json").stdout)["sign_in"]
    with httpx.Client(follow_redirects=True, trust_env=False) as browser:
        page = browser.get(link).text
    assert 'value="C4"' in page
    assert page.count("checked autofocus") == 1
    assert "Needs 8 × H100; this machine has no GPU." in page


def test_doctor_finds_nothing_missing(alone: RunningHub) -> None:
    found = run("doctor", "--json", "--state-dir", str(alone.state.root))
    checks = json.loads(found.stdout)
    assert checks["ok"], checks
    told = run("doctor", "--state-dir", str(alone.state.root))
    assert not told.stderr
    assert [line for line in told.stdout.splitlines() if line.startswith("✓ Port: ")]
    assert len(told.stdout.splitlines()) == len(checks["checks"])


def test_a_taken_port_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run("up", "--state-dir", str(tmp_path / "s"), "--port", str(port))
    assert done.returncode == 1
    assert f"Port {port} is held by another program." in done.stderr
    assert "--port 0" in done.stderr
    assert not ours(RunningHub(tmp_path / "s").state)


def test_an_up_that_is_interrupted_says_when_all_has_ended(tmp_path: Path) -> None:
    with running(tmp_path / "s") as hub:
        assert hub.process is not None
        hub.process.send_signal(signal.SIGINT)
        _, said = hub.process.communicate(timeout=60)
        assert said.splitlines()[-2:] == ["Ending everything …", "All of it has ended."]
        assert not ours(hub.state)


def test_a_killed_up_leaves_what_the_next_one_adopts(tmp_path: Path) -> None:
    with running(tmp_path / "s") as hub:
        server = hub.spawn("alice", instance_type="C3")
        started = server.request("GET", "/api/status").json()["started"]
        parts = {name: hub.part(name).pid for name in ("hub", "traefik", "service")}
        assert hub.process is not None
        hub.process.send_signal(signal.SIGKILL)
        hub.process.communicate()
        assert server.request("GET", "/api/status").status_code == 200
        hub.up()
        assert {name: hub.part(name).pid for name in parts} == parts
        assert server.request("GET", "/api/status").json()["started"] == started


def test_down_without_up_ends_what_a_killed_one_left(tmp_path: Path) -> None:
    with running(tmp_path / "s") as hub:
        hub.spawn("alice", instance_type="C3")
        assert hub.process is not None
        hub.process.send_signal(signal.SIGKILL)
        hub.process.communicate()
        done = run("down", "--state-dir", str(hub.state.root), "--json")
        assert json.loads(done.stdout)["was_running"]
        assert not ours(hub.state)


@pytest.mark.slow
def test_state_survives_a_restart(tmp_path: Path) -> None:
    with running(tmp_path / "s") as hub:
        project = hub.transport().post("/projects", {"name": "kept"})
        url, token = hub.url, hub.token("alice")
    with running(tmp_path / "s") as hub:
        assert hub.url == url
        assert hub.api("GET", "/user", token=token).json()["name"] == "alice"
        assert hub.transport().get(f"/projects/{project['id']}")["name"] == "kept"
