"""What of a hub's tasks is in the cluster: listed once, then kept by watches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from nablahub.jobs.runners.contract import TaskName
from nablahub.jobs.runners.kubernetes.api import Api, ApiError, Away, Expired
from nablahub.jobs.runners.kubernetes.names import TASK

type Object = dict[str, Any]

_KINDS = ("Job", "Deployment", "Pod")
#: Without these no task can be followed; without the others none that serves.
_NEEDED = ("Job", "Pod")
_FIRST_WAIT = 0.1
_LONGEST_WAIT = 5.0
log = logging.getLogger(__name__)


class Watcher:
    """Jobs, Deployments and pods by their task's name.

    Parameters
    ----------
    api
        The cluster.
    selector
        Labels of the hub's objects.
    tell
        Called on the event loop with the name of each task of which something changed.
    """

    def __init__(self, api: Api, selector: str, tell: Callable[[TaskName], None]) -> None:
        self._api = api
        self._selector = selector
        self._tell = tell
        self._seen: dict[str, dict[str, Object]] = {kind: {} for kind in _KINDS}
        self._synced = {kind: asyncio.Event() for kind in _KINDS}
        #: Pods as they were when they vanished, for as long as their task is minded.
        self._gone: dict[TaskName, Object] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def watch(self, kind: str) -> None:
        """Watch a further kind of objects; before the start."""
        self._seen[kind] = {}
        self._synced[kind] = asyncio.Event()

    def start(self) -> None:
        """Begin to watch."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._keep(kind)) for kind in self._seen]

    async def synced(self) -> None:
        """Return once everything that was there at the start is known."""
        for event in self._synced.values():
            await event.wait()

    async def close(self) -> None:
        """Stop watching."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def job(self, name: TaskName) -> Object | None:
        """The task's Job."""
        return next((o for o in self._seen["Job"].values() if _task(o) == name), None)

    def maker(self, kind: str, name: TaskName) -> Object | None:
        """What makes the pods of a `serve` task."""
        return next((o for o in self._seen.get(kind, {}).values() if _task(o) == name), None)

    def pod(self, name: TaskName) -> Object | None:
        """The task's pod."""
        return next(iter(self.pods(name)), None)

    def pods(self, name: TaskName) -> list[Object]:
        """All pods of a task."""
        return [o for o in self._seen["Pod"].values() if _task(o) == name]

    def gone(self, name: TaskName) -> Object | None:
        """The task's pod as it was when it vanished while it was watched."""
        return self._gone.get(name)

    def forget(self, name: TaskName) -> None:
        """Forget how a pod was that has vanished."""
        self._gone.pop(name, None)

    async def _keep(self, kind: str) -> None:
        wait = _FIRST_WAIT
        while True:
            try:
                version = await self._list(kind)
                wait = _FIRST_WAIT
                while True:
                    version = await self._watch(kind, version)
            except Expired:
                continue
            except ApiError as error:
                log.warning("The cluster does not let us watch its %ss: %s", kind, error)
                if kind not in _NEEDED and error.status in (403, 404):
                    # Rights for jobs alone, or a kind that is not there any more.
                    self._seen[kind] = {}
                    self._synced[kind].set()
            except Away as error:
                log.info("The cluster is away: %r", error)
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    async def _list(self, kind: str) -> str:
        items, version = await self._api.list(kind, self._selector)
        before, now = self._seen[kind], {o["metadata"]["name"]: o for o in items}
        self._seen[kind] = now
        for name, found in before.items():
            if name not in now:
                self._vanished(kind, found)
        for found in now.values():
            self._tell(_task(found))
        self._synced[kind].set()
        return version

    async def _watch(self, kind: str, version: str) -> str:
        async for event, found in self._api.watch(kind, self._selector, version):
            version = found["metadata"]["resourceVersion"]
            if event == "BOOKMARK":
                continue
            name = found["metadata"]["name"]
            if event == "DELETED":
                self._seen[kind].pop(name, None)
                self._vanished(kind, found)
            else:
                self._seen[kind][name] = found
                self._tell(_task(found))
        return version

    def _vanished(self, kind: str, found: Object) -> None:
        if kind == "Pod":
            self._gone[_task(found)] = found
        self._tell(_task(found))


def _task(found: Object) -> TaskName:
    return TaskName(found["metadata"].get("annotations", {}).get(TASK, ""))
