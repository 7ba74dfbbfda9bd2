"""The real thing: hub, Traefik and service under ``nablahub up``, started once per test run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from nablahub.client import Hub
from nablahub.core.state import StateDir
from nablahub.core.transport import Transport
from nablahub_hub.local.config import LocalConfig
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
CONFIG = Path(__file__).with_name("jupyterhub_config.py")
USERS = ("alice", "bob", "carol")
SESSION = "NABLAHUB_SESSION"


def environment(**more: str) -> dict[str, str]:
    """Return the environment that commands of the tests run in."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("NABLAHUB_", "JUPYTER"))}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    env["NABLAHUB_ENVIRONMENTS_DIR"] = os.environ.get(
        "NABLAHUB_ENVIRONMENTS_DIR", str(ROOT / ".build" / "environments")
    )
    return {**env, **more}


def command(*words: str) -> list[str]:
    """Return the command line of ``nablahub WORDS``."""
    return [sys.executable, "-m", "nablahub", *words]


def run(*words: str, timeout: float = 120, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``nablahub WORDS`` to its end."""
    return subprocess.run(
        command(*words), env=environment(**env), capture_output=True, text=True, timeout=timeout,
        check=False,
    )  # fmt: skip


def ours(state: StateDir) -> list[psutil.Process]:
    """Return every live process that belongs to a state directory: by its mark, or its path."""
    try:
        session = json.loads(state.config.read_text())["session"]
    except FileNotFoundError:
        return []
    found = []
    for process in psutil.process_iter():
        try:
            marked = process.environ().get(SESSION) == session
            named = any(str(state.root) in word for word in process.cmdline())
            if (marked or named) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            continue
    return [process for process in found if process.pid != os.getpid()]


class RunningHub:
    """One ``nablahub up``.

    Parameters
    ----------
    root : pathlib.Path
        State directory.
    config : pathlib.Path or None
        ``jupyterhub_config.py``; None for the hub of one user.
    words : str
        More words of the command line.
    wrapper : tuple of str
        A program that starts ``up`` as its last words.
    """

    def __init__(
        self,
        root: Path,
        config: Path | None = CONFIG,
        *words: str,
        wrapper: tuple[str, ...] = (),
    ) -> None:
        self.state = StateDir(root)
        self._wrapper = wrapper
        self._words = ["up", "--json", "--state-dir", str(root), "--port", "0", *words]
        if config is not None:
            self._words += ["--config", str(config)]
        self._tokens: dict[str, str] = {}
        self._transports: list[Transport] = []
        self.process: subprocess.Popen[str] | None = None
        self.told: dict[str, Any] = {}

    def up(self, timeout: float = 90) -> RunningHub:
        """Start, and return when it says that it is ready."""
        self.process = subprocess.Popen(
            [*self._wrapper, *command(*self._words)], env=environment(), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"`up` ended: {self.process.stderr.read()}")
        self.told = json.loads(line)
        if "error" in self.told:
            self.process.communicate(timeout=60)
            raise AssertionError(self.told["error"]["detail"])
        return self

    def down(self) -> None:
        """End everything by SIGTERM to ``up``."""
        for transport in self._transports:
            transport.close()
        self._transports.clear()
        if self.process is not None:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
            self.process.communicate(timeout=60)
            self.process = None

    @property
    def url(self) -> str:
        """Where its proxy listens."""
        local = LocalConfig.load(self.state)
        assert local is not None
        return local.proxy_url

    @property
    def service_url(self) -> str:
        """The service's public root."""
        return f"{self.url}/services/nablahub"

    def api(
        self, method: str, path: str, *, token: str = "token-of-the-tests", body: Any = None
    ) -> httpx.Response:
        """Call the hub's own API."""
        return httpx.request(
            method, f"{self.url}/hub/api{path}", json=body, timeout=60, trust_env=False,
            headers={"Authorization": f"token {token}"},
        )  # fmt: skip

    def token(self, name: str = "alice", scopes: list[str] | None = None) -> str:
        """Return a hub token of a user: all their rights, or those scopes."""
        key = f"{name} {scopes}"
        if key not in self._tokens:
            self.api("POST", f"/users/{name}")  # 409 when there already
            body = {"note": "tests", **({"scopes": scopes} if scopes is not None else {})}
            answer = self.api("POST", f"/users/{name}/tokens", body=body)
            assert answer.status_code in (200, 201), answer.text
            self._tokens[key] = answer.json()["token"]
        return self._tokens[key]

    def transport(self, name: str = "alice", *, tries: int = 1) -> Transport:
        """Return a transport of a user, closed with the hub."""
        made = Transport(self.service_url, self.token(name), tries=tries)
        self._transports.append(made)
        return made

    def client(self, name: str = "alice") -> Hub:
        """Return a client of a user."""
        return Hub(self.transport(name))

    def spawn(self, name: str = "alice", **options: Any) -> Server:
        """Start a user's server, if it does not run, and return it when it answers."""
        token = self.token(name)
        answer = self.api("POST", f"/users/{name}/server", token=token, body=options)
        runs = answer.status_code == 400 and "is already running" in answer.text
        assert runs or answer.status_code in (201, 202), answer.text
        if not runs:  # 201 does not say that it is ready, where that takes just about ten seconds.
            self.await_server(name, token)
        return Server(self, name)

    def stop_server(self, name: str) -> None:
        """Stop a user's server, if another test left it running."""
        if self.api("GET", f"/users/{name}").json().get("servers"):
            Server(self, name).stop()

    def await_server(self, name: str, token: str) -> None:
        """Follow the hub's own progress events to the last."""
        url = f"{self.url}/hub/api/users/{name}/server/progress"
        headers = {"Authorization": f"token {token}"}
        with httpx.stream("GET", url, headers=headers, timeout=300, trust_env=False) as answer:
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    event = json.loads(line[5:])
                    assert not event.get("failed"), event
                    if event.get("ready"):
                        return
        raise AssertionError("the hub ended its events without the server being ready")

    def part(self, name: str) -> psutil.Process:
        """Return the process of ``hub``, ``traefik`` or ``service``."""
        status = json.loads(run("status", "--json", "--state-dir", str(self.state.root)).stdout)
        pid = next(p["pid"] for p in status["parts"] if p["name"] == name)
        assert pid is not None, status
        return psutil.Process(pid)

    def kill(self, name: str) -> None:
        """Kill -9 a part and return once it is gone (not yet back)."""
        process = self.part(name)
        process.kill()
        process.wait(30)

    def until_answers(self, path: str = "/hub/api/", timeout: float = 60) -> None:
        """Return when a public path answers 200, asked again while something is away."""
        end = time.monotonic() + timeout
        last = ""
        while time.monotonic() < end:
            try:
                answer = httpx.get(self.url + path, timeout=10, trust_env=False)
                if answer.status_code == 200:
                    return
                last = f"{answer.status_code} {answer.text[:200]}"
            except httpx.TransportError as error:
                last = str(error)
            time.sleep(0.05)
        raise AssertionError(f"{path} does not answer: {last}")


class Server:
    """A user's single-user server, through the public port."""

    def __init__(self, hub: RunningHub, name: str) -> None:
        self.hub = hub
        self.name = name
        self.url = f"{hub.url}/user/{name}"
        self.headers = {"Authorization": f"token {hub.token(name)}"}

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Call the server's own API as its owner."""
        return httpx.request(
            method, f"{self.url}{path}", headers=self.headers, timeout=60, trust_env=False, **more
        )

    def until_answers(self) -> httpx.Response:
        """Return the server's own answer as soon as it is the server that is asked.

        A hub that was killed says of a server that it found again that it is ready, and listens,
        a moment before it looks whether the proxy has a route to it.
        """

        def asked() -> bool:
            there = self.request("GET", "/api/status").headers.get("location", "")
            return not there.startswith("/hub/")

        until(asked, f"{self.name}'s server has its route", pause=0.05)
        return self.request("GET", "/api/status")

    def shell(self, script: str) -> str:
        """Run a script where a terminal would, and return what it printed.

        A kernel runs it: the sandbox it sees is the terminal's.
        """
        from tests.support.kernel import execute  # pulls tornado's websocket client

        return execute(self, script)

    def stop(self) -> None:
        """Stop it and return when the hub says that it is gone."""
        answer = self.hub.api("DELETE", f"/users/{self.name}/server")
        assert answer.status_code in (202, 204), answer.text
        end = time.monotonic() + 60
        while time.monotonic() < end:
            model = self.hub.api("GET", f"/users/{self.name}").json()
            if not model["servers"]:
                return
            time.sleep(0.1)
        raise AssertionError("the server does not stop")


@contextmanager
def running(
    root: Path, config: Path | None = CONFIG, *words: str, wrapper: tuple[str, ...] = ()
) -> Iterator[RunningHub]:
    """A hub that is up within the block; what it left behind fails the test."""
    hub = RunningHub(root, config, *words, wrapper=wrapper)
    try:
        hub.up()
        yield hub
    finally:
        hub.down()
        run("down", "--state-dir", str(root))
    left = [" ".join(p.cmdline())[:200] for p in ours(hub.state)]
    assert not left, f"still running after down: {left}"
