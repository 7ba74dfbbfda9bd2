"""Seeing one `serve` task through: from its objects in the cluster to the verdict in its folder."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from nablahub.core.kubernetes import KubernetesSettings
from nablahub.jobs.runners import folder as files
from nablahub.jobs.runners.contract import TaskName, TaskSpec, TaskStatus
from nablahub.jobs.runners.kubernetes import servers
from nablahub.jobs.runners.kubernetes.api import Api
from nablahub.jobs.runners.kubernetes.attending import Attendant
from nablahub.jobs.runners.kubernetes.names import SCALE, object_name
from nablahub.jobs.runners.kubernetes.objects import Cluster
from nablahub.jobs.runners.kubernetes.pod import PORT
from nablahub.jobs.runners.kubernetes.verdict import verdict
from nablahub.jobs.runners.kubernetes.watcher import Watcher
from nablahub.jobs.runners.kubernetes.watching import Servers, no_pods, see_servers

type Object = dict[str, Any]

#: In a server's folder: how many there have to be, and whether so many were ever ready.
SERVING: Final = "serving.json"
#: What became of it, written before its objects are removed.
FOUND: Final = "found.json"
#: What a `serve` task has in the cluster beside what makes its pods.
ALONGSIDE: Final = ("HorizontalPodAutoscaler", "PodDisruptionBudget", "Service", "Secret")
_SOON = 1
_REMOVED = "What made its pods was removed from the cluster from outside."


class ServerMinder(Attendant):
    """Waits until a task's servers are ready, ends them when that is wished, or when they cannot.

    Parameters
    ----------
    name, folder, kind
        The task, its folder, and which kind of object makes its pods.
    api, watcher, settings
        The cluster.
    tell
        Called when something of the task changed.
    """

    def __init__(
        self,
        name: TaskName,
        folder: Path,
        kind: str,
        api: Api,
        watcher: Watcher,
        settings: KubernetesSettings,
        tell: Callable[[TaskName], None],
    ) -> None:
        super().__init__(name, watcher, tell)
        self._object = object_name(settings.hub, name)
        self._folder = folder
        self._kind = kind
        self._api = api
        self._settings = settings
        self._address: str | None = None
        self._hard = 0

    async def status(self) -> TaskStatus:
        """How the servers are; the task has not ended."""
        seen = self._see()
        mark = files.read(self._folder, files.STARTED) or {}
        was_ready = self._state()["ready"]
        if self._address is None and (seen.ready or was_ready):
            self._address = await self._find_address()
        started = seen.started_at
        if started is None and was_ready:
            started = datetime.fromtimestamp(mark["at"], UTC)
        return TaskStatus(
            "running", message=seen.message, address=self._address, ready=self._enough(seen),
            servers=seen.ready, started_at=started,
        )  # fmt: skip

    async def _find_address(self) -> str | None:
        found = await self._api.get("Service", self._object)
        if found is None:
            return None
        ip = found["spec"]["clusterIP"]
        return f"http://[{ip}]:{PORT}" if ":" in ip else f"http://{ip}:{PORT}"

    def _see(self) -> Servers:
        pods = self._watcher.pods(self._name)
        seen = see_servers(pods)
        if pods:
            return seen
        made = self._watcher.maker(self._kind, self._name)
        words = no_pods(None if made is None else {"kind": self._kind, **made})
        return replace(seen, message=words)

    def _state(self) -> Object:
        return files.read(self._folder, SERVING) or {"least": 1, "ready": False}

    def _enough(self, seen: Servers) -> bool:
        """Whether it takes requests: at first with all servers that there are to be, then any."""
        state = self._state()
        return seen.ready >= (1 if state["ready"] else int(state["least"]))

    async def _step(self) -> bool:
        """Do what can be done now; whether the task has ended."""
        wish = files.read(self._folder, files.CANCEL)
        found = files.read(self._folder, FOUND)
        if found is None and wish is not None:
            found = verdict(None, wish)
            if self._overdue is None:
                self._overdue = self._now() + wish["grace"] + self._settings.stuck_seconds / 4
        if found is None:
            found = await self._judge()
            if found is not None:
                await asyncio.to_thread(files.write, self._folder, FOUND, found)
        return found is not None and await self._remove(found)

    async def _judge(self) -> Object | None:
        """Return what became of it if that is decided."""
        seen = self._see()
        if self._enough(seen) and not self._state()["ready"]:
            state = {**self._state(), "ready": True}
            await asyncio.to_thread(files.write, self._folder, SERVING, state)
        if self._watcher.maker(self._kind, self._name) is None and (
            await self._api.get(self._kind, self._object) is None
        ):
            return {**verdict(None, None), "message": _REMOVED}
        if not self._state()["ready"]:
            if seen.hopeless:
                return {**verdict(None, None), "verdict": "start", "message": seen.hopeless}
            if seen.died is not None:
                return verdict(seen.died, None)
        self._announce(seen)
        return None

    def _announce(self, seen: Servers) -> None:
        """Tell what people see of it, when that changed."""
        told = (self._enough(seen), seen.ready, seen.message, seen.started_at is None)
        if told != self._told:
            self._told = told
            self._tell(self._name)

    async def _remove(self, found: Object) -> bool:
        """Take everything away; write the verdict when the last pod is gone."""
        await self._api.delete("HorizontalPodAutoscaler", self._object)
        await self._api.delete(self._kind, self._object)
        pods = self._watcher.pods(self._name)
        if self._watcher.maker(self._kind, self._name) is None and not pods:
            await self._end(found)
            return True
        if self._overdue is None:
            self._overdue = self._now() + self._settings.stuck_seconds
        elif self._now() >= self._overdue:
            for pod in pods:
                grace = 0 if self._hard else _SOON
                await self._api.delete("Pod", pod["metadata"]["name"], grace_seconds=grace)
            self._hard += 1
            self._overdue = self._now() + self._settings.stuck_seconds / 4
        return False

    async def _end(self, found: Object) -> None:
        found["finished_at"] = found["finished_at"] or datetime.now(UTC).timestamp()
        mark = files.read(self._folder, files.STARTED)
        if found["started_at"] is None:
            found["started_at"] = mark["at"] if mark else found["finished_at"]
        await asyncio.to_thread(files.write, self._folder, files.STATUS, found)
        self._watcher.forget(self._name)


def kind_in(folder: Path) -> str | None:
    """Return which kind of object makes a task's pods; None: it is no `serve` task."""
    state = files.read(folder, SERVING)
    return None if state is None else str(state["kind"])


def note(folder: Path, kind: str, least: int) -> None:
    """Note, before anything is made or changed, that a task serves, and by how many servers."""
    state = files.read(folder, SERVING) or {"ready": False}
    files.write(folder, SERVING, {**state, "kind": kind, "least": least})


async def make(api: Api, task: TaskSpec, cluster: Cluster, folder: Path) -> None:
    """Make a task's objects, what makes its pods last."""
    kind = servers.kind_of(task)
    await asyncio.to_thread(note, folder, kind, task.scale.least)
    made = [servers.server_secret(task, cluster), servers.service(task, cluster)]
    more = (servers.autoscaler(task, cluster), servers.disruption_budget(task, cluster))
    made += [each for each in more if each is not None]
    pods = servers.seldon if kind == "SeldonDeployment" else servers.deployment
    for each in (*made, pods(task, cluster)):
        await api.create(each)


def has_scale(made: Object, task: TaskSpec) -> bool:
    """Whether what makes a task's pods was told how many servers it says now."""
    told = made["metadata"].get("annotations", {}).get(SCALE)
    return bool(told == servers.said(task.scale))


async def rescale(api: Api, task: TaskSpec, cluster: Cluster, folder: Path) -> None:
    """Bring a task's number of servers to what it says now."""
    kind, name = servers.kind_of(task), object_name(cluster.settings.hub, task.name)
    await asyncio.to_thread(note, folder, kind, task.scale.least)
    budget = servers.disruption_budget(task, cluster)
    if budget is None:
        await api.delete("PodDisruptionBudget", name)
    else:
        await api.create(budget)
    if kind == "SeldonDeployment":
        await api.patch(kind, name, servers.seldon(task, cluster))
        return
    scaler = servers.autoscaler(task, cluster)
    if scaler is None:
        await api.delete("HorizontalPodAutoscaler", name)
    elif not await api.create(scaler):
        await api.patch("HorizontalPodAutoscaler", name, {"spec": scaler["spec"]})
    change: Object = {"metadata": {"annotations": {SCALE: servers.said(task.scale)}}}
    if scaler is None:
        change["spec"] = {"replicas": task.scale.least}
    await api.patch(kind, name, change)
