"""Where the contract suite runs tasks: one class per runner, with the faults that it can suffer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from pathlib import Path
from typing import Protocol

import httpx

from nablahub.jobs.runners import folder as files
from nablahub.jobs.runners.contract import (
    Mount,
    Runner,
    TaskName,
    TaskRefused,
    TaskSpec,
    TaskStatus,
)
from nablahub.jobs.runners.process import launcher, procfs
from nablahub.jobs.runners.process.reading import settle
from nablahub.jobs.runners.process.runner import ProcessRunner
from tests.support.waiting import until


class Place(Protocol):
    """A runner, and what the suite does to it from outside."""

    @property
    def runner(self) -> Runner:
        """The runner of now."""

    async def restart(self) -> None:
        """The service was killed: a new runner over the same place."""

    async def kill_machinery(self) -> None:
        """Kill what starts tasks, and starts them no more until it is started again."""

    async def kill_parent(self, name: TaskName) -> None:
        """Kill what looks after one running task."""

    def left(self, marker: str) -> list[str]:
        """Command lines of living processes that hold the marker."""

    async def put(self, volume: str, name: str, text: str = "") -> None:
        """Write a file into a volume, which is made when it is not there."""

    async def get(self, volume: str, name: str) -> str | None:
        """Read a file of a volume; None when it is not there."""

    async def close(self) -> None:
        """End everything."""


class Layout:
    """Volumes are folders beside the jobs; there are no environments."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def source(self, task: TaskSpec, mount: Mount) -> Path:
        path = self.root / "volumes" / mount.ref
        if mount.kind == "volume":
            path.mkdir(parents=True, exist_ok=True)
        return path

    def lay(self, mount: Mount, target: Path) -> None:
        shutil.copytree(self.root / "workspaces" / mount.ref, target)

    def cached_at(self, mount: Mount) -> str:
        if not (self.root / "volumes" / mount.ref).exists():
            raise TaskRefused(f"The {mount.kind} {mount.ref!r} for {mount.path} is not there.")
        return f"team/{mount.ref}"

    def environment(self, name: str) -> Path:
        return self.root / "environments" / name


class ProcessPlace:
    """The process runner over a folder whose name has a space in it."""

    runner: ProcessRunner

    def __init__(self, root: Path) -> None:
        self.root = root / "a place"
        for name in ("jobs", "run"):
            (self.root / name).mkdir(parents=True)
        self.runner = self._new()

    def _new(self) -> ProcessRunner:
        return ProcessRunner(self.root / "jobs", self.root / "run", Layout(self.root))

    async def restart(self) -> None:
        await self.runner.close()
        self.runner = self._new()

    async def kill_machinery(self) -> None:
        pid = int((self.root / "run" / launcher.PID).read_text())
        await kill_and_wait(pid)

    async def kill_parent(self, name: TaskName) -> None:
        mark = files.read(self.root / "jobs" / name, files.STARTED)
        assert mark is not None
        os.kill(mark["pid"], signal.SIGKILL)

    def left(self, marker: str) -> list[str]:
        return processes_with(marker)

    async def put(self, volume: str, name: str, text: str = "") -> None:
        folder = self.root / "volumes" / volume
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    async def get(self, volume: str, name: str) -> str | None:
        path = self.root / "volumes" / volume / name
        return path.read_text() if path.exists() else None

    async def close(self) -> None:
        for folder in (self.root / "jobs").iterdir():
            mark = files.read(folder, files.STARTED)
            if mark and files.alive(folder):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(mark["pid"], signal.SIGKILL)
                await asyncio.to_thread(settle, folder)
        await self.runner.close()
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            await self.kill_machinery()


def processes_with(marker: str) -> list[str]:
    """Command lines of living processes, other than this one, that hold the marker."""
    found = []
    for path in Path("/proc").iterdir():
        if not path.name.isdigit() or int(path.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if marker in line and procfs.start_time(int(path.name)) is not None:
                found.append(line)
    return found


async def kill_and_wait(pid: int) -> None:
    """Kill -9 a process that is no child of ours and wait until it is gone."""
    pidfd = os.pidfd_open(pid)
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(pidfd, gone.set)
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        await gone.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)


class Watcher:
    """Waits for states of tasks by the runner's own calls of its listener."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._changed = asyncio.Event()
        self.place.runner.listen(self._hear)

    def _hear(self, name: TaskName) -> None:
        self._changed.set()

    async def changed(self) -> None:
        """Return at the next change."""
        await self._changed.wait()
        self._changed.clear()

    async def until_ended(self, task: TaskSpec) -> TaskStatus:
        while True:
            self._changed.clear()
            status = await self.place.runner.look(task)
            if status.phase == "ended":
                return status
            assert status.phase == "running"
            await self._changed.wait()

    async def until_ready(self, task: TaskSpec) -> TaskStatus:
        while True:
            self._changed.clear()
            status = await self.place.runner.look(task)
            if status.ready:
                return status
            assert status.phase == "running"
            await self._changed.wait()


async def answer(url: str) -> str:
    """Return what a ready server answers: nodes may learn the way to it a moment after that."""

    def ask() -> str:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(url).text
        return ""

    return await asyncio.to_thread(until, ask, f"an answer of {url}")
