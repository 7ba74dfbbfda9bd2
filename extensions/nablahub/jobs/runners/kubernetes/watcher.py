"""What of a hub's tasks is in the cluster: listed once, then kept by watches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from nablahub.jobs.runners.contract import TaskName
from nablahub.jobs.runners.kubernetes.api import Api, ApiError, Away, Expired
from nablahub.jobs.runners.kubernetes.names import TASK
from nablahub.jobs.runners.kubernetes.refusals import Refusal, refusal, unprovided
from nablahub.jobs.runners.kubernetes.together import Node, asked

type Object = dict[str, Any]

_KINDS = ("Job", "Deployment", "Pod")
#: Without these no task can be followed; without the others none that serves.
_NEEDED = ("Job", "Pod")
_FIRST_WAIT = 0.1
_LONGEST_WAIT = 5.0
#: The events by which the cluster tells that it made no pod for a Job, and how claims get volumes.
_HEARD = {
    "event of a Job": "involvedObject.kind=Job,reason=FailedCreate",
    "event of a claim": "involvedObject.kind=PersistentVolumeClaim",
}
#: https://kubernetes.io/docs/reference/labels-annotations-taints/
_INDEX = "batch.kubernetes.io/job-completion-index"
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
    minded
        Whether somebody waits for a task's end: of others, what has vanished is forgotten.
    """

    def __init__(
        self,
        api: Api,
        selector: str,
        tell: Callable[[TaskName], None],
        minded: Callable[[TaskName], bool] = lambda _: True,
    ) -> None:
        self._api = api
        self._selector = selector
        self._tell = tell
        self._minded = minded
        #: By kind, then by the task's name, then by the object's.
        self._seen: dict[str, dict[TaskName, dict[str, Object]]] = {kind: {} for kind in _KINDS}
        self._synced = {kind: asyncio.Event() for kind in _KINDS}
        #: Pods as they were when they vanished, for as long as their task is minded.
        self._gone: dict[TaskName, dict[int, Object]] = {}
        #: Names of pods that are being deleted, in the order in which that was seen.
        self._going: dict[TaskName, list[str]] = {}
        #: By a Job's name, what the cluster said when it made no pod for it.
        self._refusals: dict[str, str] = {}
        #: By a claim's name, its uid and why it has got no volume.
        self._unprovided: dict[str, tuple[str, str]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def watch(self, kind: str) -> None:
        """Watch a further kind of objects, unless it is watched already."""
        if kind in self._seen:
            return
        self._seen[kind] = {}
        self._synced[kind] = asyncio.Event()
        if self._tasks:
            self._tasks.append(asyncio.get_running_loop().create_task(self._keep(kind)))

    def start(self) -> None:
        """Begin to watch."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._keep(kind)) for kind in (*self._seen, *_HEARD)]

    async def synced(self) -> None:
        """Return once everything that was there at the start is known."""
        for event in tuple(self._synced.values()):
            await event.wait()

    async def close(self) -> None:
        """Stop watching."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def job(self, name: TaskName) -> Object | None:
        """The task's Job."""
        return next(iter(self._seen["Job"].get(name, {}).values()), None)

    def maker(self, kind: str, name: TaskName) -> Object | None:
        """What makes the pods of a `serve` task."""
        return next(iter(self._seen.get(kind, {}).get(name, {}).values()), None)

    def pods(self, name: TaskName) -> list[Object]:
        """All pods of a task that are there."""
        return list(self._seen["Pod"].get(name, {}).values())

    def refusal(self, name: TaskName) -> Refusal | None:
        """Why the cluster made no pod for a task when it tried last, if it did not."""
        job = self.job(name)
        said = self._refusals.get(job["metadata"]["name"]) if job is not None else None
        return None if said is None else refusal(said)

    def lack(self, name: TaskName) -> str:
        """Why a pod of a task gets no node, when that is for a claim without a volume."""
        for pod in self._seen["Pod"].get(name, {}).values():
            for claim in _unplaced(pod):
                if claim in self._unprovided:
                    return unprovided(claim, self._unprovided[claim][1])
        return ""

    def nodes(self, name: TaskName) -> dict[int, Node]:
        """The task's pods by the number of their node; also those that vanished while watched."""
        going = self._going.get(name, [])

        def place(pod: Object) -> int:
            known = pod["metadata"]["name"]
            return going.index(known) if known in going else 0

        gone = self._gone.get(name, {}).items()
        found = {number: Node(pod, gone=True, place=place(pod)) for number, pod in gone}
        for pod in self._seen["Pod"].get(name, {}).values():
            found[_number(pod)] = Node(pod, place=place(pod))
        return found

    def forget(self, name: TaskName) -> None:
        """Forget how pods were that have vanished."""
        self._gone.pop(name, None)
        self._going.pop(name, None)

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
                if kind in self._seen and kind not in _NEEDED and error.status in (403, 404):
                    # Rights for jobs alone, or a kind that is not there any more.
                    self._seen[kind] = {}
                    self._synced[kind].set()
            except Away as error:
                log.info("The cluster is away: %r", error)
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    async def _list(self, kind: str) -> str:
        if kind in _HEARD:
            items, version = await self._api.list("Event", "", fields=_HEARD[kind])
            for found in sorted(items, key=lambda e: str(e.get("lastTimestamp"))):
                self._hear(found)
            return version
        items, version = await self._api.list(kind, self._selector)
        before: dict[TaskName, dict[str, Object]] = self._seen[kind]
        now: dict[TaskName, dict[str, Object]] = {}
        for found in items:
            now.setdefault(_task(found), {})[found["metadata"]["name"]] = found
        self._seen[kind] = now
        for found in sorted(items, key=asked):
            self._note_going(kind, found)
        for task, known in before.items():
            for name, found in known.items():
                if name not in now.get(task, {}):
                    self._vanished(kind, found)
        for task in now:
            self._tell(task)
        self._synced[kind].set()
        return version

    async def _watch(self, kind: str, version: str) -> str:
        about = kind in _HEARD
        if about:
            watch = self._api.watch("Event", "", version, fields=_HEARD[kind])
        else:
            watch = self._api.watch(kind, self._selector, version)
        async for event, found in watch:
            version = found["metadata"]["resourceVersion"]
            if event == "BOOKMARK":
                continue
            if about:
                self._hear(found, gone=event == "DELETED")
                continue
            name, task = found["metadata"]["name"], _task(found)
            known = self._seen[kind].setdefault(task, {})
            if event == "DELETED":
                known.pop(name, None)
                if not known:
                    del self._seen[kind][task]
                self._vanished(kind, found)
            else:
                known[name] = found
                self._note_going(kind, found)
                self._tell(task)
        return version

    def _hear(self, event: Object, *, gone: bool = False) -> None:
        """Keep why no pod was made for a Job, or no volume for a claim, which may be others'."""
        name = event["involvedObject"]["name"]
        if event["involvedObject"].get("kind") == "PersistentVolumeClaim":
            self._hear_of_claim(name, event, gone=gone)
            return
        if gone:
            self._refusals.pop(name, None)
            return
        self._refusals[name] = event.get("message", "")
        for task, jobs in self._seen["Job"].items():
            if name in jobs:
                self._tell(task)

    def _hear_of_claim(self, name: str, event: Object, *, gone: bool) -> None:
        uid, before = event["involvedObject"].get("uid", ""), self._unprovided.get(name)
        failed = event.get("reason") in ("ProvisioningFailed", "FailedBinding")
        another = before is not None and before[0] != uid  # Of the same name, made since.
        if failed and not gone:
            self._unprovided[name] = (uid, event.get("message", ""))
        elif failed or another or event.get("reason") == "ProvisioningSucceeded":
            self._unprovided.pop(name, None)
        if self._unprovided.get(name) != before:
            for task, pods in self._seen["Pod"].items():
                if any(name in _claims(pod) for pod in pods.values()):
                    self._tell(task)

    def _note_going(self, kind: str, found: Object) -> None:
        """Note which of a task's pods were to be deleted first: also before anybody minds it."""
        if kind != "Pod" or "deletionTimestamp" not in found["metadata"]:
            return
        going, name = self._going.setdefault(_task(found), []), found["metadata"]["name"]
        if name not in going:
            going.append(name)

    def _vanished(self, kind: str, found: Object) -> None:
        task = _task(found)
        if kind == "Pod" and self._minded(task):
            self._gone.setdefault(task, {})[_number(found)] = found
        elif kind == "Pod" and not self._seen["Pod"].get(task):
            self._going.pop(task, None)
        self._tell(task)


def _task(found: Object) -> TaskName:
    return TaskName(found["metadata"].get("annotations", {}).get(TASK, ""))


def _claims(pod: Object) -> list[str]:
    volumes = pod.get("spec", {}).get("volumes", ())
    claims = (volume.get("persistentVolumeClaim", {}).get("claimName") for volume in volumes)
    return [claim for claim in claims if claim is not None]


def _unplaced(pod: Object) -> list[str]:
    """The claims of a pod, unless it has a node: then all of them have volumes."""
    return [] if "nodeName" in pod.get("spec", {}) else _claims(pod)


def _number(pod: Object) -> int:
    return int(pod["metadata"].get("annotations", {}).get(_INDEX, 0))
