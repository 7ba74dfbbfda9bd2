"""A service, an S3 and clients, each a process that may be killed, and what is counted between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from nablahub.core.transport import Transport
from nablahub.datasets.api import DatasetsAPI
from nablahub_hub.local.config import free_ports
from tests.support.s3 import SeaweedFS, seaweedfs
from tests.support.s3_proxy import CountingProxy
from tests.support.stores import own_store

PATIENCE = 120


class Gate(CountingProxy):
    """Counts requests on their way, and does something before or after one of them."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self._numbers = threading.Lock()
        self._number, self._at, self._after = 0, 0, False
        self._strike: Any = None

    def arm(self, at: int, strike: Any = None, *, after: bool = False) -> None:
        """Call ``strike`` at the n-th request from now on; with 0 only count."""
        with self._numbers:
            self._number, self._at, self._strike, self._after = 0, at, strike, after

    def count(self) -> int:
        """Return how many requests there were since it was armed."""
        with self._numbers:
            self._at = 0
            return self._number

    def forward(self, call: BaseHTTPRequestHandler) -> None:
        """Pass a request on."""
        with self._numbers:
            self._number += 1
            strikes = self._number == self._at
        if strikes and not self._after:
            self._strike()
        super().forward(call)
        if strikes and self._after:
            self._strike()


class ServiceProcess:
    """The service, which is started again whenever it died."""

    def __init__(self, state: Path, settings: dict[str, Any]) -> None:
        self._port = free_ports(1)[0]
        self._arguments = [str(state), json.dumps({**settings, "service_port": self._port})]
        self.gate = Gate(f"http://127.0.0.1:{self._port}")
        self._lock = threading.Lock()
        self.deaths = 0
        self._closing = threading.Event()
        self._dead: list[subprocess.Popen[str]] = []
        self._process = self._start()
        self._watch = threading.Thread(target=self._watching, daemon=True)
        self._watch.start()

    @property
    def url(self) -> str:
        """The service's root, as clients know it."""
        return f"{self.gate.url}/services/nablahub"

    def _start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.data.serve", *self._arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "null\n", process.wait()
        return process

    def _watching(self) -> None:
        while not self._closing.is_set():
            process = self._process
            process.wait()
            with self._lock:
                if self._closing.is_set():
                    return
                self.deaths += 1
                self._dead.append(process)
                self._process = self._start()

    def ask(self, verb: str, *arguments: Any) -> Any:
        """Let it do something; EOFError when it died meanwhile."""
        with self._lock:
            process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps([verb, *arguments]) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise EOFError from None
        line = process.stdout.readline()
        if not line:
            raise EOFError
        return json.loads(line)

    def insist(self, verb: str, *arguments: Any) -> Any:
        """Let it do something, again if it died."""
        while True:
            with suppress(EOFError):
                return self.ask(verb, *arguments)
            self._dead_is_noticed()

    def _dead_is_noticed(self) -> None:
        self._process.wait()
        threading.Event().wait(0.05)

    def close(self) -> None:
        """End it."""
        with self._lock:
            self._closing.set()
            self._process.send_signal(signal.SIGKILL)
        self._process.communicate()
        self._watch.join(30)
        for process in (*self._dead, self._process):
            for pipe in (process.stdin, process.stdout):
                with suppress(BrokenPipeError):  # What it was not told any more.
                    assert pipe is not None
                    pipe.close()
        self.gate.close()


@dataclass
class Done:
    """How a client ended: its code, and what it printed."""

    code: int
    said: dict[str, Any]


class Stand:
    """All processes that have a part; made as they are needed."""

    def __init__(self, root: Path, s3: SeaweedFS) -> None:
        self.root, self.s3 = root, s3
        self.store = Gate(s3.endpoint)
        self._services: dict[str, ServiceProcess] = {}
        self._transports: dict[str, Transport] = {}
        self._reviving: threading.Thread | None = None
        self.kills = 0

    def service(self, kind: str) -> ServiceProcess:
        """Return the service whose store is of a kind."""
        if kind not in self._services:
            name = kind.replace(" ", "-")
            settings: dict[str, Any] = {"allow_private_addresses": True}
            if kind != "directory":
                own = own_store(
                    self.s3, self.root / f"keys-{name}", direct=kind == "s3",
                    endpoint=self.store.url,
                )  # fmt: skip
                settings["object_store"] = {key: str(value) for key, value in own.items()}
                settings["object_store"]["direct"] = kind == "s3"
            self._services[kind] = ServiceProcess(self.root / f"state-{name}", settings)
        return self._services[kind]

    def api(self, kind: str) -> DatasetsAPI:
        """Return a client of this process, which remembers nothing of what was put."""
        if kind not in self._transports:
            self._transports[kind] = Transport(self.service(kind).url, "token-of-alice")
        return DatasetsAPI(self._transports[kind])

    def client(self, kind: str, *arguments: str, at: int = 0) -> subprocess.Popen[str]:
        """Start a client that is killed at an act."""
        env = {**os.environ, "KILL_AT": str(at), "HOME": str(self.root / "home")}
        return subprocess.Popen(
            [sys.executable, "-m", "tests.crash.data.client", self.service(kind).url, *arguments],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def finish(self, client: subprocess.Popen[str]) -> Done:
        """Wait for a client; one that fails otherwise than in words fails the test."""
        try:
            out, wrong = client.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            client.kill()
            client.communicate()
            raise
        assert client.returncode in (0, 1, -signal.SIGKILL), wrong
        return Done(client.returncode, json.loads(out) if out else {})

    def kill_s3(self) -> None:
        """Kill the S3 and start it again at once."""
        self.kills += 1
        self.s3.kill()
        self._reviving = threading.Thread(target=self.s3.start)
        self._reviving.start()

    def revived(self) -> None:
        """Wait until the S3 is there again."""
        if self._reviving is not None:
            self._reviving.join()
            self._reviving = None

    def close(self) -> None:
        """End all."""
        self.revived()
        for transport in self._transports.values():
            transport.close()
        for service in self._services.values():
            service.close()
        self.store.close()


@contextmanager
def standing(root: Path) -> Iterator[Stand]:
    """Make a stand for the length of a ``with``."""
    with seaweedfs() as s3:
        stand = Stand(root, s3)
        try:
            yield stand
        finally:
            stand.close()
