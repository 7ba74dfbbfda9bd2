"""What the benchmark of data runs: our service and CLI, and ``dvc``, each as processes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from tests.benchmarks.report import spread

BIN = Path(sys.executable).parent
TOKEN = "token-of-alice"


@dataclass
class Ratio:
    """One comparison; ``ratio`` is peer over ours, so above 1 we are faster.

    Parameters
    ----------
    name, unit, peer_is : str
        What was done, in what it is told, and of what the peer's figure is.
    goal : float or None
        Least ratio (or, with ``most``, the most of ours in the unit) that was meant.
    """

    name: str
    unit: str
    peer_is: str = ""
    goal: float | None = None
    most: float | None = None
    ours: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)
    memory: dict[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """The peer's median over ours."""
        mine, theirs = spread(self.ours), spread(self.peer)
        return theirs["median"] / mine["median"] if mine and theirs else None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None when there is none."""
        mine = spread(self.ours)
        if self.most is not None and mine is not None:
            return mine["median"] <= self.most
        return None if self.goal is None or self.ratio is None else self.ratio >= self.goal

    def as_dict(self) -> dict[str, Any]:
        """Return the row for JSON."""
        mine, theirs = spread(self.ours), spread(self.peer)
        return {
            "name": self.name, "ours": mine and mine["median"],
            "peer": theirs and theirs["median"], "unit": self.unit, "ratio": self.ratio,
            "runs": len(self.ours), "ours_spread": mine, "peer_spread": theirs,
            "peer_is": self.peer_is, "goal": self.goal, "most": self.most, "met": self.met,
            "peak_rss_mib": self.memory,
        }  # fmt: skip

    def __str__(self) -> str:
        def show(found: dict[str, float] | None) -> str:
            return "–" if not found else "/".join(f"{v:.3g}" for v in found.values())

        text = f"{self.name:<52} {show(spread(self.ours))} {self.unit}"
        if self.peer:
            text += f"   {self.peer_is} {show(spread(self.peer))}   ratio {self.ratio:.2f}"
        if self.goal is not None or self.most is not None:
            wanted = f"≥ {self.goal}" if self.most is None else f"≤ {self.most} {self.unit}"
            text += f"   goal {wanted}: {'met' if self.met else 'MISSED'}"
        if self.memory:
            text += "   peak MiB " + ", ".join(f"{k} {v:.0f}" for k, v in self.memory.items())
        return text


class Runner:
    """Runs commands and remembers each exact line."""

    def __init__(self) -> None:
        self.commands: dict[str, None] = {}

    def run(self, *words: str, cwd: Path, env: dict[str, str]) -> tuple[float, float]:
        """Run a command; return its wall time in s and its peak RSS in MiB."""
        shown = [Path(words[0]).name, *words[1:]]
        self.commands.setdefault(shlex.join(shown))
        log = cwd / f".log-{time.monotonic_ns()}"
        with log.open("wb") as said:
            start = perf_counter()
            process = subprocess.Popen(words, cwd=cwd, env=env, stdout=said, stderr=said)
            with peak_of(process.pid) as peak:
                process.wait()
            took = perf_counter() - start
        text = log.read_text()
        log.unlink()
        if process.returncode:
            raise RuntimeError(f"{shlex.join(words)} failed:\n{text}")
        return took, max(peak)


def high_water(pid: int) -> float:
    """Return a process's peak RSS in MiB so far, 0 when it is gone (proc(5), VmHWM)."""
    status = Path(f"/proc/{pid}/status").read_text()
    lines = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(lines[0].split()[1]) / 1024 if lines else 0.0


@contextlib.contextmanager
def peak_of(pid: int) -> Iterator[list[float]]:
    """Look at the peak RSS of a process again and again.

    What wait4(2) tells of it counts the process that it was forked from as well.
    """
    seen, over = [0.0], threading.Event()

    def look() -> None:
        with contextlib.suppress(OSError):
            while not over.wait(0.02):
                seen.append(high_water(pid))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return an environment in which both sides have bytecode and a home of their own."""
    home.mkdir(parents=True, exist_ok=True)
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {
        **kept, "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"),
        "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(home / "site"), "NO_PROXY": "*", **more,
    }  # fmt: skip


class Service:
    """Our service on a state directory, as a process that can be killed and started again."""

    def __init__(self, root: Path, home: Path, **settings: Any) -> None:
        self.root, self._home = root, home
        self._settings = json.dumps(settings, default=str)
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port = found.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/services/nablahub"

    def start(self) -> None:
        """Start it and wait until it listens."""
        words = [sys.executable, "-m", "tests.benchmarks.data_service", str(self.root)]
        self._process = subprocess.Popen(
            [*words, str(self.port), self._settings],
            stdout=subprocess.PIPE, env=environment(self._home), text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != "ready":
            raise RuntimeError("the service did not start")

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    @property
    def peak(self) -> float:
        """Peak RSS in MiB so far."""
        return high_water(self._process.pid)

    def reset_peak(self) -> None:
        """Begin to measure the peak anew (proc(5), clear_refs 5)."""
        with contextlib.suppress(OSError):
            Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def environment(self, home: Path) -> dict[str, str]:
        """Return the environment of a client with a home, so a cache, of its own."""
        return environment(home, NABLAHUB_URL=self.url, NABLAHUB_TOKEN=TOKEN)


@contextlib.contextmanager
def service(root: Path, home: Path, **settings: Any) -> Iterator[Service]:
    """Run the service for the length of a ``with``."""
    found = Service(root, home, **settings)
    found.start()
    try:
        yield found
    finally:
        found.kill()


def make_tree(root: Path, files: int, size: int, *, per_folder: int = 1000) -> Path:
    """Write files of random bytes, so many to a folder."""
    for start in range(0, files, per_folder):
        folder = root / f"part-{start // per_folder:05}"
        folder.mkdir(parents=True)
        count = min(per_folder, files - start)
        data = os.urandom(count * size)
        for number in range(count):
            name = folder / f"{start + number:08}.bin"
            name.write_bytes(data[number * size : (number + 1) * size])
    return root


def tree_digest(root: Path) -> str:
    """Return one hash of all paths and bytes of a tree."""
    whole = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        whole.update(f"{path.relative_to(root)}\0{path.stat().st_size}\0".encode())
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def walk_seconds(root: Path) -> float:
    """Return how long ``os.scandir`` and ``stat`` of everything in a tree takes in Python."""
    start = perf_counter()
    todo = [str(root)]
    while todo:
        with os.scandir(todo.pop()) as found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                else:
                    entry.stat(follow_symlinks=False)
    return perf_counter() - start


class Dvc:
    """A DVC repository without git.

    Parameters
    ----------
    remote : str
        A folder or the URL of a bucket.
    endpoint : str
        Where the S3 of a bucket is.
    command : str
        The ``dvc`` that is run.
    more : str
        Variables of its environment.
    """

    def __init__(
        self, runner: Runner, path: Path, remote: str, home: Path, *, endpoint: str = "",
        command: str = str(BIN / "dvc"), **more: str,
    ) -> None:  # fmt: skip
        self.path, self._remote, self._endpoint, self._runner = path, remote, endpoint, runner
        self._command, self._more = command, more
        self._env = environment(home, **more)
        path.mkdir(parents=True)
        settings = [
            ["init", "-q", "--no-scm"], ["config", "core.analytics", "false"],
            ["remote", "add", "-q", "-d", "store", remote],
        ]  # fmt: skip
        if endpoint:
            settings.append(["remote", "modify", "store", "endpointurl", endpoint])
        for words in settings:
            self.run(*words)

    def run(self, *words: str) -> tuple[float, float]:
        """Run ``dvc`` with these words."""
        return self._runner.run(self._command, *words, cwd=self.path, env=self._env)

    def clone(self, path: Path) -> Dvc:
        """Return another repository with the same .dvc files, an empty cache and no data."""
        home = path.parent / f"{path.name}-home"
        made = Dvc(
            self._runner, path, self._remote, home,
            endpoint=self._endpoint, command=self._command, **self._more,
        )  # fmt: skip
        for file in self.path.glob("?*.dvc"):
            shutil.copy(file, path)
        return made


def print_rows(
    rows: list[Ratio], runner: Runner, machine: dict[str, Any], *, as_json: bool
) -> None:
    """Print all rows, the exact commands first."""
    if as_json:
        print(json.dumps({"machine": machine, "commands": list(runner.commands)}))
        for row in rows:
            print(json.dumps(row.as_dict()))
        return
    print("machine:", ", ".join(f"{k} {v}" for k, v in machine.items()))
    print("commands:", *runner.commands, sep="\n    ")
    print("min/median/max; ratio is peer over ours:")
    for row in rows:
        print(row)
