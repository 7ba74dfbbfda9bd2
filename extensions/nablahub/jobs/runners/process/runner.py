"""The process runner: the runner contract over sandboxed processes of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nablahub.core.sandbox import write_identity
from nablahub.jobs.runners import folder as files
from nablahub.jobs.runners.contract import (
    Listener,
    TaskName,
    TaskRefused,
    TaskRuns,
    TaskSpec,
    TaskStatus,
)
from nablahub.jobs.runners.following import Following
from nablahub.jobs.runners.process.client import LauncherClient
from nablahub.jobs.runners.process.launch import (
    Launcher,
    Layout,
    least_used,
    output_folder,
    write_programs,
)
from nablahub.jobs.runners.process.probe import keep_asking
from nablahub.jobs.runners.process.reading import read_status, settle, shim_of
from nablahub.jobs.runners.reading import log_size, read_log
from nablahub.jobs.runners.remove import remove_tree


@dataclass
class _Watched:
    """A running task that the event loop waits for.

    Parameters
    ----------
    pidfd
        Its shim.
    line
        What the shim tells the end by, if it was started by this life of the service.
    """

    pidfd: int
    line: socket.socket | None = None
    ready: bool = False
    prober: asyncio.Task[None] | None = None


@dataclass
class _Memory:
    """What this life of the runner knows; all of it can be found again."""

    watched: dict[TaskName, _Watched] = field(default_factory=dict)
    cpus: dict[str, list[int]] = field(default_factory=dict)
    listeners: list[Listener] = field(default_factory=list)
    starting: dict[TaskName, asyncio.Lock] = field(default_factory=dict)
    #: Laid out, and not yet started.
    prepared: dict[TaskName, TaskSpec] = field(default_factory=dict)


class ProcessRunner:
    """Tasks as sandboxed processes.

    Parameters
    ----------
    jobs
        The folder that holds a folder for each task.
    run
        The folder of the launcher's socket.
    layout
        Where mounts and environments lie on this machine.
    unsandboxed
        Go without bubblewrap, knowingly.
    """

    def __init__(self, jobs: Path, run: Path, layout: Layout, *, unsandboxed: bool = False) -> None:
        self._jobs = jobs
        self._memory = _Memory()
        self._following = Following()
        self.client = LauncherClient(run)
        self._launch = Launcher(
            layout=layout,
            identity=write_identity(run / "sandbox"),
            library=Path(__file__).parents[3],
            programs=write_programs(run / "programs"),
            unsandboxed=unsandboxed,
        )

    def listen(self, listener: Listener) -> None:
        """See `Runner.listen`."""
        self._memory.listeners.append(listener)

    async def start(self, task: TaskSpec) -> None:
        """See `Runner.start`."""
        folder = self._folder(task.name)
        lock = self._memory.starting.setdefault(task.name, asyncio.Lock())
        # One at a time, or a second call would lay the files anew under a running command.
        async with lock:
            if self._memory.prepared.pop(task.name, None) is not task:
                if files.read(folder, files.STARTED) is not None:
                    return
                await self._lay_out(task, folder)
            mark, line = await self.client.start(folder)
            if not self._watch(task, mark, line):
                line.close()

    async def prepare(self, task: TaskSpec) -> None:
        """See `Runner.prepare`."""
        folder = self._folder(task.name)
        async with self._memory.starting.setdefault(task.name, asyncio.Lock()):
            if files.read(folder, files.STARTED) is None:
                await self._lay_out(task, folder)
                self._memory.prepared[task.name] = task

    async def _lay_out(self, task: TaskSpec, folder: Path) -> None:
        cpus = least_used(task.resources.cpus, self._memory.cpus)
        await asyncio.to_thread(self._prepare, task, folder, cpus)
        if cpus is not None:
            self._memory.cpus[task.name] = cpus

    async def look(self, task: TaskSpec) -> TaskStatus:
        """See `Runner.look`."""
        name = task.name
        folder = self._folder(name)
        if (folder / files.STATUS).exists():  # Small files, and nothing to wait for.
            status = read_status(folder)
        else:
            status = await asyncio.to_thread(read_status, folder)
        mark = files.read(folder, files.STARTED) if status.phase == "running" else None
        if status.phase == "running" and not self._watch(task, mark):
            status = await asyncio.to_thread(read_status, folder)
            if status.phase == "running":
                # The shim is gone and its sandbox about to be: see to the last of it.
                await asyncio.to_thread(settle, folder)
                status = await asyncio.to_thread(read_status, folder)
        if status.phase == "ended":
            self._let_go(name)
        watched = self._memory.watched.get(name)
        if watched is None or not watched.ready:
            return status
        return TaskStatus(
            status.phase, address=status.address, ready=True, servers=1,
            started_at=status.started_at,
        )  # fmt: skip

    async def scale(self, task: TaskSpec) -> None:
        """See `Runner.scale`: each task is one server."""

    async def cancel(self, name: TaskName, *, grace_seconds: float, message: str) -> None:
        """See `Runner.cancel`."""
        await asyncio.to_thread(ask_to_end, self._folder(name), grace_seconds, message)

    async def logs(self, name: TaskName, offset: int, limit: int) -> bytes:
        """See `Runner.logs`."""
        folder = self._folder(name)
        if log_size(folder) <= offset:  # Most often the last question, and not worth a thread.
            return b""
        return await asyncio.to_thread(read_log, folder, offset, limit)

    async def follow(self, task: TaskSpec, offset: int) -> AsyncGenerator[bytes]:
        """See `Runner.follow`."""
        name = task.name

        async def runs() -> bool:
            return name in self._memory.watched or (await self.look(task)).phase == "running"

        following = self._following.follow(name, self._folder(name), offset, runs)
        async with contextlib.aclosing(following) as parts:
            async for part in parts:
                yield part

    async def forget(self, name: TaskName) -> None:
        """See `Runner.forget`."""
        folder = self._folder(name)
        if files.read(folder, files.STATUS) is None and files.alive(folder):
            raise TaskRuns(f"{name} still runs; cancel it first.")
        await asyncio.to_thread(remove_tree, folder)

    async def tidy(self, name: TaskName) -> None:
        """See `Runner.tidy`."""
        self._let_go(name)
        await asyncio.to_thread(_remove_parts, self._folder(name))

    async def names(self) -> list[TaskName]:
        """See `Runner.names`."""
        found = await asyncio.to_thread(lambda: list(self._jobs.iterdir()))
        return [TaskName(path.name) for path in found]

    async def untidy(self) -> list[TaskName]:
        """See `Runner.untidy`."""
        found = await asyncio.to_thread(lambda: list(self._jobs.glob("*/work")))
        return [TaskName(path.parent.name) for path in found]

    def output(self, name: TaskName, output: str) -> Path:
        """See `Runner.output`."""
        return output_folder(self._folder(name), output)

    def artifacts(self, name: TaskName) -> Path:
        """See `Runner.artifacts`."""
        return self._folder(name) / "artifacts"

    async def close(self) -> None:
        """See `Runner.close`."""
        for name in list(self._memory.watched):
            self._unwatch(name)
        self._following.close()

    def _let_go(self, name: TaskName) -> None:
        self._memory.cpus.pop(name, None)
        self._memory.starting.pop(name, None)
        self._memory.prepared.pop(name, None)

    def _folder(self, name: TaskName) -> Path:
        if not name or "/" in name or name.startswith("."):
            raise TaskRefused(f"{name!r} cannot be a task's name.")
        return self._jobs / name

    def _prepare(self, task: TaskSpec, folder: Path, cpus: list[int] | None) -> None:
        launch = self._launch.prepare(task, folder, cpus)
        files.write(folder, files.LAUNCH, launch)

    def _watch(
        self, task: TaskSpec, mark: dict[str, Any] | None, line: socket.socket | None = None
    ) -> bool:
        """Be woken when the task ends, and keep the line; False when its shim is gone already."""
        if task.name in self._memory.watched:
            if line is not None:
                line.close()
            return True
        pidfd = shim_of(mark)
        if mark is None or pidfd is None:
            return False
        watched = self._memory.watched[task.name] = _Watched(pidfd, line)
        loop = asyncio.get_running_loop()
        loop.add_reader(pidfd, self._ended, task.name)
        if line is not None:
            loop.add_reader(line, self._told, task.name)
        if "port" in mark:
            asking = keep_asking(
                int(mark["port"]), task.probe, lambda ready: self._set_ready(task.name, ready)
            )
            watched.prober = loop.create_task(asking)
        return True

    def _set_ready(self, name: TaskName, ready: bool) -> None:
        watched = self._memory.watched.get(name)
        if watched is not None:
            watched.ready = ready
            self._tell(name)

    def _ended(self, name: TaskName) -> None:
        self._unwatch(name)
        self._following.finish(name)
        self._tell(name)

    def _told(self, name: TaskName) -> None:
        watched = self._memory.watched[name]
        said = b""
        with contextlib.suppress(OSError):
            said = watched.line.recv(1) if watched.line is not None else b""
        if said:
            self._ended(name)
        else:
            self._hang_up(watched)

    def _hang_up(self, watched: _Watched) -> None:
        if watched.line is not None:
            asyncio.get_running_loop().remove_reader(watched.line)
            watched.line.close()
            watched.line = None

    def _unwatch(self, name: TaskName) -> None:
        watched = self._memory.watched.pop(name)
        asyncio.get_running_loop().remove_reader(watched.pidfd)
        os.close(watched.pidfd)
        self._hang_up(watched)
        if watched.prober is not None:
            watched.prober.cancel()

    def _tell(self, name: TaskName) -> None:
        for listener in self._memory.listeners:
            listener(name)


def _remove_parts(folder: Path) -> None:
    # `work` last: its absence is the mark that there is nothing left to do.
    for part in ("home", "tmp", "outputs", "strings", "own", "root", "work"):
        remove_tree(folder / part)


def ask_to_end(folder: Path, grace_seconds: float, message: str) -> None:
    """Leave the wish that a task ends, and wake its shim if it has one."""
    if files.read(folder, files.STATUS) is not None:
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write(folder, files.CANCEL, {"grace": grace_seconds, "message": message})
    pidfd = shim_of(files.read(folder, files.STARTED))
    if pidfd is None:
        return
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
    except ProcessLookupError:
        pass  # It ended by itself just now.
    finally:
        os.close(pidfd)
