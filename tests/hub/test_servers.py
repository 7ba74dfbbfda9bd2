"""Single-user servers: they answer through the public port, and see what is theirs."""

from __future__ import annotations

import re

import httpx
import psutil
import pytest

from tests.support.hub import RunningHub, Server, ours
from tests.support.kernel import code

pytestmark = pytest.mark.hub


@pytest.fixture(scope="module")
def server(hub: RunningHub) -> Server:
    return hub.spawn("alice", instance_type="C3")


def test_a_server_answers_through_the_public_port(server: Server) -> None:
    assert server.request("GET", "/api/status").json()["kernels"] == 0


def test_another_user_is_turned_away(hub: RunningHub, server: Server) -> None:
    headers = {"Authorization": f"token {hub.token('bob')}"}
    assert httpx.get(f"{server.url}/api/status", headers=headers).status_code == 403


def test_the_sandbox_shows_own_files_only(hub: RunningHub, server: Server) -> None:
    (hub.state.homes / "bob").mkdir(exist_ok=True)
    (hub.state.homes / "bob" / "diary").write_text("mine")
    printed = server.shell(f"""
        find /home* -name diary 2>/dev/null
        basename ~
        cd "{hub.state.root}" 2>&1 | grep -o 'No such.*'
        echo kept > ~/note
        echo shared > /storage/note
        touch /datasets/x 2>&1 | grep -o 'Read-only.*'
        ls /proc | grep -cE '^[0-9]+$'
        ps -e -o args= | grep -c 'nablahub[_.]hub\\|traefik --\\|nablahub.service '
    """)
    lines = printed.splitlines()
    assert lines[:3] == ["alice", "No such file or directory", "Read-only file system"]
    assert int(lines[3]) < 12, "other processes are seen"
    assert (hub.state.homes / "alice" / "note").read_text() == "kept\n"
    assert [p.read_text() for p in hub.state.storage.glob("*/note")] == ["shared\n"]


def test_a_process_outside_cannot_be_signalled(hub: RunningHub, server: Server) -> None:
    pid = hub.part("service").pid
    assert "No such process" in server.shell(f"kill -0 {pid} 2>&1 || kill -9 {pid}")
    assert hub.part("service").pid == pid


def test_notebooks_have_the_client_and_the_magics(server: Server) -> None:
    printed = code(
        server,
        "import nablahub, sys, sklearn\n"
        "get_ipython().run_line_magic('load_ext', 'nablahub')\n"
        "print(sys.prefix, nablahub.connect().whoami()['name'])\n",
    )
    assert printed.split() == ["/opt/nablahub/environments/default", "alice"]


def test_terminals_have_the_command_line(server: Server) -> None:
    listed = server.shell("nablahub projects list --json && which python uv")
    assert listed.splitlines()[1:] == [
        "/opt/nablahub/environments/default/bin/python",
        "/opt/nablahub/bin/uv",
    ]


def test_the_marks_of_our_processes_are_not_seen_inside(server: Server) -> None:
    printed = server.shell("cat /proc/[0-9]*/environ | tr '\\0' '\\n' | cut -d= -f1 | sort -u")
    names = set(printed.split())
    assert "JUPYTERHUB_USER" in names
    assert not names & {"NABLAHUB_SESSION", "NABLAHUB_SERVER", "NABLAHUB_ROLE"}


def test_kernels_listen_on_no_port(server: Server) -> None:
    connection = code(
        server,
        "from ipykernel.connect import get_connection_info\nprint(get_connection_info())",
    )
    assert '"transport": "ipc"' in connection


def test_the_servers_token_reads_and_writes(server: Server) -> None:
    printed = server.shell(
        'curl -s -H "Authorization: Bearer $JUPYTERHUB_API_TOKEN" "$NABLAHUB_URL/api/v1/whoami"'
    )
    assert '"alice"' in printed
    assert "custom:nablahub:write" in printed


def test_a_type_too_big_is_refused_with_a_reason(hub: RunningHub) -> None:
    hub.stop_server("bob")
    token = hub.token("bob")
    answer = hub.api("POST", "/users/bob/server", token=token, body={"instance_type": "A100x8"})
    assert answer.status_code == 400
    assert "A100x8" in answer.json()["message"]
    assert "this machine has no GPU" in answer.json()["message"]
    answer = hub.api("POST", "/users/bob/server", token=token, body={"instance_type": "X9"})
    assert (answer.status_code, "X9" in answer.json()["message"]) == (400, True)
    # What was refused is not what the next start takes.
    server = hub.spawn("bob")
    assert server.request("GET", "/api/status").status_code == 200
    server.stop()


def test_lab_asks_nobody_about_news(server: Server) -> None:
    page = server.request("GET", "/lab").text
    assert re.search(r'"news":\s*{"disabled":\s*true}', page)


def test_a_stopped_server_leaves_no_process(hub: RunningHub) -> None:
    server = hub.spawn("carol", instance_type="C3")
    server.request("POST", "/api/kernels", json={"name": "python3"})
    mark = f":{server.name}/"
    keepers = [p for p in ours(hub.state) if mark in p.environ().get("NABLAHUB_SERVER", "")]
    below = [child for keeper in keepers for child in keeper.children(recursive=True)]
    assert any("ipykernel_launcher" in child.cmdline() for child in below)
    server.stop()
    assert not [p for p in (*keepers, *below) if _lives(p)]


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
