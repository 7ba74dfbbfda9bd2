"""A real hub with a live notebook server, on which work goes on while parts are killed."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from nablahub.client import Hub
from nablahub.core.errors import NablaError
from nablahub.core.transport import TRIES
from nablahub_hub.local import procfs
from nablahub_hub.local.config import LocalConfig
from tests.crash import processes
from tests.crash.strikes import Clock
from tests.crash.work import Phases, Work, no_phases
from tests.support import kernel
from tests.support.hub import RunningHub, Server, running
from tests.support.waiting import PATIENCE, until

WORKER = "alice"
LIVE = "carol"
SPAWNED = "bob"
PARTS = ("service", "hub", "traefik")
#: What kernels remember as long as nobody touches them.
SECRET = 4711

#: Deals a blow and returns what waits until all is well again.
Hit = Callable[[], Callable[[], None]]


@dataclass
class Live:
    """A notebook server that people work on while things are killed."""

    server: Server
    kernel: str
    started: str

    def check(self) -> None:
        """Fail unless it is the very server, and its kernel has not forgotten anything."""
        status = until(self._status, f"{LIVE}'s server answers through the public port")
        assert status["started"] == self.started, "another server answers"
        kernels = self.server.request("GET", "/api/kernels").json()
        assert [found["id"] for found in kernels] == [self.kernel]
        assert self.run("print(remembered)") == f"{SECRET}\n"

    def _status(self) -> Any:
        answer = self.server.request("GET", "/api/status")
        return answer.json() if answer.status_code == 200 else None

    def run(self, source: str) -> str:
        """Return what code prints in its kernel."""
        return asyncio.run(kernel.run(self.server, self.kernel, source))

    def as_ever(self) -> bool:
        """Whether it still does what :meth:`check` asks."""
        try:
            self.check()
        except (AssertionError, OSError, httpx.HTTPError):
            return False
        return True


@dataclass
class Stand:
    """The hub, what lives on it, and the blows against it.

    Parameters
    ----------
    hub : RunningHub
        It is up.
    folder : pathlib.Path
        For files of the tests.
    """

    hub: RunningHub
    folder: Path
    clock: Clock = field(default_factory=Clock)
    cleared: list[Work] = field(default_factory=list)
    _live: Live | None = None
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def hub_url(self) -> str:
        """Where the hub itself listens."""
        config = LocalConfig.load(self.hub.state)
        assert config is not None
        return config.hub_url

    @property
    def session(self) -> str:
        """The mark of this hub's processes."""
        config = LocalConfig.load(self.hub.state)
        assert config is not None
        return config.session

    def client(self, *, tries: int = TRIES) -> Hub:
        """Return a client; by default it retries as one outside of tests does."""
        return Hub(self.hub.transport(WORKER, tries=tries))

    @property
    def live(self) -> Live:
        """The live server."""
        assert self._live is not None
        return self._live

    def revive(self) -> None:
        """Start the live server, at first, or when an earlier test was its end; ``up``, too."""
        if self.hub.process is not None and self.hub.process.poll() is not None:
            self.hub.process.communicate()
            self.hub.up()
        if self._live is None or not self._live.as_ever():
            server = self.hub.spawn(LIVE, instance_type="C3")
            for old in server.request("GET", "/api/kernels").json():
                server.request("DELETE", f"/api/kernels/{old['id']}")
            made = server.request("POST", "/api/kernels", json={"name": "python3"})
            assert made.status_code == 201, made.text
            started = server.request("GET", "/api/status").json()["started"]
            self._live = Live(server, made.json()["id"], started)
            self._live.run(f"remembered = {SECRET}")

    def work(
        self, title: str, *, replicas: int = 1, spawns: bool = False, phase: Phases = no_phases
    ) -> Work:
        """Return a new piece of work."""
        name = f"{title}-{next(self._numbers)}"
        folder = self.folder / name
        folder.mkdir()
        spawn = self.start_server if spawns else None
        listener = self.client(tries=10 * TRIES)  # Our own ear, which never gives up.
        return Work(self.client(), listener, self.hub.state, name, folder, replicas, phase, spawn)

    def measure(self, *, spawns: bool) -> Work:
        """Do undisturbed work, so that the length of each phase is known; return that work."""
        work = self.work("calm", spawns=spawns, phase=self.clock.phase)
        work.do()
        return work

    @contextmanager
    def doing(self, work: Work, *notes: object) -> Iterator[Work]:
        """Leave nothing of a work that fails in the block, or others would wait for it."""
        try:
            yield work
        except BaseException as error:
            for note in notes:
                error.add_note(str(note))
            try:
                work.clear()
            except (NablaError, AssertionError) as second:
                error.add_note(f"and clearing up failed: {second}")
            raise

    # Servers of a user.

    def start_server(self) -> None:
        """Start a user's server as a patient client does: asking again until it is ready."""
        end = time.monotonic() + PATIENCE
        said = ""
        while time.monotonic() < end:
            try:
                server = self._servers_of(SPAWNED).get("", {})
                if server.get("ready"):
                    return
                if not server.get("pending"):
                    answer = self.hub.api(
                        "POST", f"/users/{SPAWNED}/server", token=self.hub.token(SPAWNED),
                        body={"instance_type": "C3"},
                    )  # fmt: skip
                    said = answer.text
            except (httpx.TransportError, ValueError, KeyError) as error:
                said = repr(error)
            time.sleep(0.05)
        raise AssertionError(f"{SPAWNED}'s server is never ready: {said}")

    def _servers_of(self, user: str) -> dict[str, Any]:
        found: dict[str, Any] = self.hub.api("GET", f"/users/{user}").json()["servers"]
        return found

    def stop_server(self) -> None:
        """Stop that server, if it runs."""
        if self._servers_of(SPAWNED):
            Server(self.hub, SPAWNED).stop()

    # Blows.

    def parts(self) -> dict[str, int]:
        """Return the ids of the three processes."""
        return procfs.parts(procfs.processes(self.session))

    def kill(self, *names: str) -> Hit:
        """Return a blow that kills parts by signal 9, all at once."""
        before = self.parts()

        def hit() -> Callable[[], None]:
            kill(*(before[name] for name in names))
            return lambda: self.until_back({name: before[name] for name in names})

        return hit

    def kill_up(self, *more: str) -> Hit:
        """Return a blow that kills ``up`` itself, maybe with parts; the way back is the next."""
        before = self.parts()
        up = self.hub.process
        assert up is not None

        def hit() -> Callable[[], None]:
            kill(up.pid, *(before[name] for name in more))

            def back() -> None:
                up.communicate()
                self.hub.up()
                now = self.parts()
                assert {n: p for n, p in now.items() if n not in more} == {
                    n: p for n, p in before.items() if n not in more
                }, "`up` did not adopt what still ran"
                self.until_back({name: before[name] for name in more})

            return back

        return hit

    def kill_launcher(self) -> Hit:
        """Return a blow that kills the launcher of jobs; it comes back when one is needed."""

        def hit() -> Callable[[], None]:
            kill(processes.launcher_of(self.hub.state))
            return lambda: None

        return hit

    def freeze(self, name: str, seconds: float) -> Hit:
        """Return a blow that stops a part for some seconds."""
        pid = self.parts()[name]

        def hit() -> Callable[[], None]:
            os.kill(pid, signal.SIGSTOP)
            time.sleep(seconds)
            os.kill(pid, signal.SIGCONT)
            return lambda: self.until_back({})

        return hit

    def until_back(self, killed: dict[str, int]) -> None:
        """Return when other processes are in the place of those and everything answers."""

        def replaced() -> bool:
            now = self.parts()
            return set(now) == set(PARTS) and all(now[name] != killed[name] for name in killed)

        until(replaced, f"{', '.join(killed)} started again", pause=0.02)
        self.hub.until_answers("/hub/api/", PATIENCE)
        self.hub.until_answers("/services/nablahub/health", PATIENCE)


def kill(*pids: int | None) -> None:
    """Kill processes by signal 9, all at once, and return when they are gone."""
    assert None not in pids, "one of them does not run"
    found = [psutil.Process(pid) for pid in pids if pid is not None]
    for process in found:
        os.kill(process.pid, signal.SIGKILL)
    psutil.wait_procs(found, 30)


@contextmanager
def standing() -> Iterator[Stand]:
    """A stand, its state in memory where there is room for it, that leaves no process."""
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else None
    root = Path(tempfile.mkdtemp(prefix="nablahub-crash-", dir=place))
    (root / "files").mkdir()
    try:
        with running(root / "state") as hub:
            yield Stand(hub, root / "files")
    finally:
        shutil.rmtree(root, ignore_errors=True)
