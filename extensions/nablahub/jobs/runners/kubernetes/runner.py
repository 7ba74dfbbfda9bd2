"""The kubernetes runner: the runner contract over the pods of a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Protocol

from nablahub.core.kubernetes import KubernetesSettings
from nablahub.jobs.runners import folder as files
from nablahub.jobs.runners.contract import (
    Listener,
    Mount,
    RunnerAway,
    TaskName,
    TaskRefused,
    TaskRuns,
    TaskSpec,
    TaskStatus,
)
from nablahub.jobs.runners.following import Following
from nablahub.jobs.runners.joining import last_line
from nablahub.jobs.runners.kubernetes import objects, servers, serving
from nablahub.jobs.runners.kubernetes.api import Api, ApiError, Away
from nablahub.jobs.runners.kubernetes.claims import ClaimVolumes
from nablahub.jobs.runners.kubernetes.leavings import Leavings
from nablahub.jobs.runners.kubernetes.minding import Minder
from nablahub.jobs.runners.kubernetes.names import object_name, selector
from nablahub.jobs.runners.kubernetes.pod import READ
from nablahub.jobs.runners.kubernetes.refusals import refusal
from nablahub.jobs.runners.kubernetes.room import Room
from nablahub.jobs.runners.kubernetes.serving import ServerMinder
from nablahub.jobs.runners.kubernetes.together import see_all, with_lack, with_refusal
from nablahub.jobs.runners.kubernetes.verdict import Seen
from nablahub.jobs.runners.kubernetes.watcher import Watcher
from nablahub.jobs.runners.reading import last_words, log_end, moment, read_log
from nablahub.jobs.runners.receiving import Receiving
from nablahub.jobs.runners.remove import remove_tree

NO_SELDON = (
    "The cluster has no Seldon Core: install it, or leave the engine out of the deployment's spec."
)
#: What the cluster says of an object that it will never take.
_REFUSED = (400, 403, 413, 422)
#: So long a claim is not asked for again: many jobs of a team see one and the same.
_KNOWN_SECONDS = 30.0


class Layout(Protocol):
    """Knows what tasks read; called in a thread, may block."""

    def cached_at(self, mount: Mount) -> str:
        """Where in a cache a dataset's or model's version lies; TaskRefused when there is none."""


class KubernetesRunner:
    """Tasks as pods.

    Parameters
    ----------
    jobs
        The folder that holds a folder for each task: its log, its files, its verdict.
    settings
        Which cluster, and how its pods look.
    service_url
        How pods reach the service.
    layout
        Who knows the versions that tasks read.
    reserve
        Bytes of the disk of `jobs` that what tasks leave does not take.
    """

    def __init__(
        self,
        jobs: Path,
        settings: KubernetesSettings,
        service_url: str,
        layout: Layout,
        reserve: int = 0,
    ) -> None:
        self._jobs = jobs
        self._settings = settings
        self.service_url = service_url
        self._layout = layout
        self._api = Api(settings)
        self._leavings = Leavings(self._api, settings.hub)
        self._selector = selector(settings.hub)
        self._watcher = Watcher(
            self._api, self._selector, self._seen,
            # Servers come and go, and nobody asks how one was that has gone.
            minded=lambda name: isinstance(self._minders.get(name), Minder),
        )  # fmt: skip
        self._following = Following()
        self._listeners: list[Listener] = []
        self._minders: dict[TaskName, Minder | ServerMinder] = {}
        self._starting: dict[TaskName, asyncio.Lock] = {}
        #: Until when a claim counts as there, by its name.
        self._claims: dict[str, float] = {}
        self.room = Room(self._api, settings)
        self._connecting = asyncio.Lock()
        self._connected = False
        self.receiving = Receiving(jobs, reserve)
        self.volumes = ClaimVolumes(self._api, settings)

    def listen(self, listener: Listener) -> None:
        """See `Runner.listen`."""
        self._listeners.append(listener)

    async def prepare(self, task: TaskSpec) -> None:
        """See `Runner.prepare`; what counts here is asked of the cluster at the start."""

    async def start(self, task: TaskSpec) -> None:
        """See `Runner.start`."""
        folder = self._folder(task.name)
        await self._connect()
        lock = self._starting.setdefault(task.name, asyncio.Lock())
        async with lock:
            if files.read(folder, files.STARTED) is not None:
                return
            objects.check(task, self._settings)
            if task.maker == "seldon" and not await self._has_seldon():
                raise TaskRefused(NO_SELDON)
            if (why := await self.room.lacks(task)) is not None:
                raise TaskRefused(why)
            cluster = await asyncio.to_thread(self._prepare, task, folder)
            wish = files.read(folder, files.CANCEL)
            if wish is not None:
                await asyncio.to_thread(_end_before, folder, wish)
                return
            await self._make(task, cluster)
            outputs = any(mount.kind == "output" and mount.ref for mount in task.mounts)
            mark = {"at": time.time(), "nodes": task.nodes, "outputs": outputs}
            await asyncio.to_thread(files.write, folder, files.STARTED, mark)
        self._mind(task.name)

    async def look(self, task: TaskSpec) -> TaskStatus:
        """See `Runner.look`."""
        folder = self._folder(task.name)
        ended = await asyncio.to_thread(_read_status, folder)
        if ended is not None:
            self._starting.pop(task.name, None)
            return ended
        await self._connect()
        await self._watcher.synced()
        mark = files.read(folder, files.STARTED)
        if mark is None and not self._there(task):
            return TaskStatus("absent")
        minder = self._mind(task.name)
        if isinstance(minder, ServerMinder):
            return await minder.status()
        nodes = self._watcher.nodes(task.name)
        seen = see_all(nodes, task.nodes, over=False) if nodes else Seen("waiting")
        if seen.phase == "waiting" and len(nodes) < task.nodes:
            seen = with_refusal(seen, self._watcher.refusal(task.name))
        seen = with_lack(seen, self._watcher.lack(task.name))
        return TaskStatus("running", message=seen.message, started_at=seen.started_at)

    async def scale(self, task: TaskSpec) -> None:
        """See `Runner.scale`."""
        if task.kind != "serve":
            return
        kind = servers.kind_of(task)
        made = self._watcher.maker(kind, task.name)
        if made is None or serving.has_scale(made, task):
            return
        cluster = await asyncio.to_thread(self._cluster, task)
        await serving.rescale(self._api, task, cluster, self._folder(task.name))
        self._mind(task.name).wake()

    async def cancel(self, name: TaskName, *, grace_seconds: float, message: str) -> None:
        """See `Runner.cancel`."""
        folder = self._folder(name)
        if not await asyncio.to_thread(_wish, folder, grace_seconds, message):
            return
        if files.read(folder, files.STARTED) is not None:
            await self._connect()
            self._mind(name).wake()

    async def logs(self, name: TaskName, offset: int, limit: int) -> bytes:
        """See `Runner.logs`."""
        return await asyncio.to_thread(read_log, self._folder(name), offset, limit)

    async def follow(self, task: TaskSpec, offset: int) -> AsyncGenerator[bytes]:
        """See `Runner.follow`."""

        async def runs() -> bool:
            return (await self.look(task)).phase == "running"

        following = self._following.follow(task.name, self._folder(task.name), offset, runs)
        async with contextlib.aclosing(following) as parts:
            async for part in parts:
                yield part

    def output(self, name: TaskName, output: str) -> Path:
        """See `Runner.output`."""
        return self._folder(name) / "outputs" / output

    def artifacts(self, name: TaskName) -> Path:
        """See `Runner.artifacts`."""
        return self._folder(name) / "artifacts"

    async def tidy(self, name: TaskName) -> None:
        """See `Runner.tidy`."""
        await self._connect()
        await self._leavings.remove(name, self._folder(name))
        await asyncio.to_thread(remove_tree, self._folder(name) / "outputs")

    async def names(self) -> list[TaskName]:
        """See `Runner.names`."""
        found = await asyncio.to_thread(lambda: {TaskName(p.name) for p in self._jobs.iterdir()})
        return sorted(found | set(await self.untidy()))

    async def untidy(self) -> list[TaskName]:
        """See `Runner.untidy`."""
        await self._connect()
        return sorted(await self._leavings.tasks())

    async def forget(self, name: TaskName) -> None:
        """See `Runner.forget`."""
        folder = self._folder(name)
        await self._connect()
        if files.read(folder, files.STATUS) is None:
            kind = serving.kind_in(folder) or "Job"
            job = await self._api.get(kind, object_name(self._settings.hub, name))
            if job is not None and folder.exists():
                raise TaskRuns(f"{name} still runs; cancel it first.")
        await self._leavings.remove(name, self._folder(name))
        self.receiving.forget(name)
        await asyncio.to_thread(remove_tree, folder)

    async def close(self) -> None:
        """See `Runner.close`."""
        await asyncio.gather(*(minder.close() for minder in self._minders.values()))
        self._minders.clear()
        await self._watcher.close()
        self._following.close()
        await self._api.close()

    def _folder(self, name: TaskName) -> Path:
        if not name or "/" in name or name.startswith("."):
            raise TaskRefused(f"{name!r} cannot be a task's name.")
        return self._jobs / name

    async def _connect(self) -> None:
        async with self._connecting:
            if not self._connected:
                await self._api.connect()
                await self._has_seldon()
                self._watcher.start()
                self._connected = True

    async def _has_seldon(self) -> bool:
        """Whether the cluster has Seldon Core now; it may be installed while we run, and go."""
        self._leavings.seldon = await self._api.serves("SeldonDeployment")
        if self._leavings.seldon:
            self._watcher.watch("SeldonDeployment")
        return self._leavings.seldon

    def _prepare(self, task: TaskSpec, folder: Path) -> objects.Cluster:
        """Make the task's folder, and find what it reads."""
        cluster = self._cluster(task)
        for name in ("", "artifacts"):
            (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        return cluster

    def _cluster(self, task: TaskSpec) -> objects.Cluster:
        """Find what a task reads."""
        sub_paths: dict[str, str] = {}
        for mount in task.mounts:
            if mount.kind not in READ:
                continue
            sub_paths[mount.path] = self._layout.cached_at(mount)
        return objects.Cluster(self._settings, self.service_url, sub_paths)

    async def _make(self, task: TaskSpec, cluster: objects.Cluster) -> None:
        """Make the task's objects, what makes its pods last: it is what begins."""
        try:
            for each in objects.claims(task, cluster):
                await self._claim(each)
            if task.kind == "serve":
                await serving.make(self._api, task, cluster, self._folder(task.name))
                return
            job = objects.job(task, cluster)
            for each in (objects.secret(task, cluster), job):
                await self._api.create(each)
            if task.nodes > 1:
                there = await self._api.get("Job", job["metadata"]["name"])
                uid = there["metadata"]["uid"] if there else ""
                for each in objects.neighbourhood(task, cluster, uid):
                    await self._api.create(each)
        except ApiError as error:
            if error.status not in _REFUSED:
                raise RunnerAway(f"The cluster does not take it now: {error.message}") from error
            if "exceeded quota" in error.message:
                raise TaskRefused(refusal(error.message).words) from error
            raise TaskRefused(f"The cluster refuses it: {error.message}") from error
        except Away as error:
            raise RunnerAway("The cluster does not answer; it is asked again.") from error

    async def _claim(self, made: dict[str, Any]) -> None:
        """Make a claim unless there is one of its name."""
        name = made["metadata"]["name"]
        if time.monotonic() < self._claims.get(name, 0.0):
            return
        try:
            await self._api.create(made)
            self._claims[name] = time.monotonic() + _KNOWN_SECONDS
        except ApiError as error:
            # A quota is looked at before names are: the claim may be there all the same.
            if error.status != 403 or not await self._api.get(made["kind"], name):
                raise

    def _there(self, task: TaskSpec) -> bool:
        if task.kind == "serve":
            return self._watcher.maker(servers.kind_of(task), task.name) is not None
        return self._watcher.job(task.name) is not None

    def _mind(self, name: TaskName) -> Minder | ServerMinder:
        minder = self._minders.get(name)
        kind = serving.kind_in(self._folder(name)) if minder is None else None
        if minder is None and kind is not None:
            minder = self._minders[name] = ServerMinder(
                name, self._folder(name), kind, self._api, self._watcher, self._settings,
                self._tell,
            )  # fmt: skip
        elif minder is None:
            minder = self._minders[name] = Minder(
                name,
                self._folder(name),
                self._api,
                self._watcher,
                self._settings,
                self.receiving,
                self._tell,
            )
        return minder

    def _seen(self, name: TaskName) -> None:
        minder = self._minders.get(name)
        if minder is not None:
            minder.wake()

    def _tell(self, name: TaskName) -> None:
        if files.read(self._folder(name), files.STATUS) is not None:
            self._minders.pop(name, None)
            self._following.finish(name)
        for listener in self._listeners:
            listener(name)


def _wish(folder: Path, grace_seconds: float, message: str) -> bool:
    """Leave the wish that a task ends; False when it has ended."""
    if files.read(folder, files.STATUS) is not None:
        return False
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write(folder, files.CANCEL, {"grace": grace_seconds, "message": message})
    return True


def _end_before(folder: Path, wish: dict[str, object]) -> None:
    """Write down that a task was cancelled before it began."""
    now = time.time()
    files.write(folder, files.STARTED, {"at": now})
    status = {
        "verdict": "cancelled", "message": wish["message"], "exit_code": None, "started_at": now,
        "finished_at": now, "peak_memory": None, "said": "",
    }  # fmt: skip
    files.write(folder, files.STATUS, status)


def _read_status(folder: Path) -> TaskStatus | None:
    status = files.read(folder, files.STATUS)
    if status is None:
        return None
    node, words = status.get("node"), status["said"]
    if node is not None and not words:
        words = last_line(log_end(folder), node)
    return TaskStatus(
        "ended",
        node=node,
        verdict=status["verdict"],
        exit_code=status["exit_code"],
        message=status["message"],
        left_out=status.get("left_out", ""),
        last_words=last_words(folder, words, status["exit_code"]),
        started_at=moment(status["started_at"]),
        finished_at=moment(status["finished_at"]),
        peak_memory_bytes=status["peak_memory"],
    )
