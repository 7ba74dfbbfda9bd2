"""A supervised process: kept alive, adopted, ended."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from nablahub.core.pids import gone
from nablahub_hub.local import procfs
from nablahub_hub.local.child import Child, Spec
from nablahub_hub.local.config import free_ports, is_free

SERVER = """
import http.server, os, sys
class Pid(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(str(os.getpid()).encode())
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Pid).serve_forever()
"""


def spec(folder: Path, port: int, *depends: str, source: str = SERVER) -> Spec:
    return Spec(
        name="server",
        argv=(sys.executable, "-c", source, str(port)),
        env=dict(os.environ),
        cwd=folder,
        log=folder / "log",
        ready_url=f"http://127.0.0.1:{port}/",
        depends=depends,
    )


@pytest.fixture
def session() -> str:
    return uuid.uuid4().hex


async def test_a_killed_process_is_started_again(tmp_path: Path, session: str) -> None:
    said: list[str] = []
    [port] = free_ports(1)
    child = Child(spec(tmp_path, port), session, said.append)
    await child.start()
    try:
        await child.ready()
        first = child.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await gone(first)
        await child.ready()
        assert child.pid != first
        assert said == ["The server ended (signal 9); starting it again."]
    finally:
        await child.end(5)
    assert not list(procfs.processes(session))


async def test_the_next_supervisor_adopts_what_runs(tmp_path: Path, session: str) -> None:
    [port] = free_ports(1)
    first = Child(spec(tmp_path, port), session, print)
    await first.start()
    await first.ready()
    await first.forget()  # as if the supervisor had been killed
    second = Child(spec(tmp_path, port), session, print)
    await second.start()
    try:
        assert second.adopted
        assert second.pid == first.pid
        assert httpx.get(second.spec.ready_url).text == str(first.pid)
    finally:
        await second.end(5)
        await first.end(0)


async def test_what_was_started_otherwise_is_replaced(tmp_path: Path, session: str) -> None:
    [port] = free_ports(1)
    first = Child(spec(tmp_path, port, "old settings"), session, print)
    await first.start()
    await first.ready()
    await first.forget()
    second = Child(spec(tmp_path, port, "new settings"), session, print)
    await second.start()
    try:
        await second.ready()
        assert not second.adopted
        assert httpx.get(second.spec.ready_url).text == str(second.pid)
        assert [p.pid for p in procfs.processes(session)] == [second.pid]
    finally:
        await second.end(5)
        await first.end(0)


async def test_one_that_ignores_sigterm_is_killed(tmp_path: Path, session: str) -> None:
    [port] = free_ports(1)
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVER
    child = Child(spec(tmp_path, port, source=stubborn), session, print)
    await child.start()
    await child.ready()
    await child.end(0.2)
    assert not list(procfs.processes(session))


async def test_its_last_words_are_its_logs(tmp_path: Path, session: str) -> None:
    child = Child(spec(tmp_path, 1, source="print('no such port')"), session, lambda _: None)
    await child.start()
    while not child.deaths:
        await asyncio.sleep(0.01)
    await child.end(1)
    assert "no such port" in child.last_words()


def test_a_role_that_is_no_text_hides_nobody(session: str) -> None:
    marks = {os.fsencode(procfs.SESSION): session.encode(), os.fsencode(procfs.ROLE): b"hub:\xff"}
    with subprocess.Popen(["/bin/sleep", "60"], env=marks) as process:
        try:
            assert [found.pid for found in procfs.processes(session)] == [process.pid]
        finally:
            process.kill()


HANDED = """
import http.server, os
from nablahub.core.sockets import inherited
class Told(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        left = [name for name in os.environ if name.startswith("LISTEN_")]
        body = f"{os.getpid()} {left} {os.get_inheritable(3)}".encode()
        self.send_response(200); self.end_headers(); self.wfile.write(body)
server = http.server.HTTPServer(("127.0.0.1", 0), Told, bind_and_activate=False)
server.socket.close()
[server.socket] = inherited()
assert inherited() == []
server.serve_forever()
"""


def handed(folder: Path, port: int, *depends: str) -> Spec:
    made = spec(folder, port, *depends, source=HANDED)
    return replace(made, ports={"server": port})


async def test_requests_wait_while_a_process_with_a_socket_is_away(
    tmp_path: Path, session: str
) -> None:
    [port] = free_ports(1)
    child = Child(handed(tmp_path, port), session, lambda _: None)
    await child.start()
    try:
        await child.ready()
        first = child.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await gone(first)
        assert not is_free(port)
        said = (await asyncio.to_thread(httpx.get, child.spec.ready_url, timeout=30)).text
        assert child.pid != first
        assert said == f"{child.pid} [] False"
    finally:
        await child.end(5)
        assert not is_free(port)
        child.release()
    assert is_free(port)


@pytest.mark.parametrize("settings", ["old settings", "new settings"])
async def test_the_next_supervisor_takes_the_sockets_too(
    tmp_path: Path, session: str, settings: str
) -> None:
    [port] = free_ports(1)
    first = Child(handed(tmp_path, port, "old settings"), session, print)
    await first.start()
    await first.ready()
    await first.forget()
    first.release()  # as if the supervisor had been killed
    second = Child(handed(tmp_path, port, settings), session, lambda _: None)
    await second.start()
    try:
        assert second.adopted is (settings == "old settings")
        assert second.pid is not None
        os.kill(second.pid, signal.SIGKILL)
        await gone(second.pid)
        assert not is_free(port)
        await second.ready()
    finally:
        await second.end(5)
        second.release()
        await first.end(0)


async def test_a_port_that_another_has_is_left_to_the_process(tmp_path: Path, session: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        child = Child(handed(tmp_path, port), session, lambda _: None)
        await child.start()
        while not child.deaths:
            await asyncio.sleep(0.01)
        await child.end(1)
    assert "not enough values to unpack" in child.last_words()
