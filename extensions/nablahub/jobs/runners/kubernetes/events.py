"""What a cluster tells of its pods, by one watch for all who follow one of them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from nablahub.jobs.runners.kubernetes.api import Api

type Object = dict[str, Any]

#: Of each pod there would be several, and one each few minutes for each that waits for room.
_DULL: Final = ("Scheduled", "FailedScheduling", "Created", "Started", "Killing")
_FIELDS: Final = ",".join(("involvedObject.kind=Pod", *(f"reason!={word}" for word in _DULL)))
#: How long it is watched on when nobody follows: somebody often does soon.
_LINGER_SECONDS: Final = 30.0
_AGAIN_SECONDS: Final = 1.0
#: Pods whose events are kept for who follows them later.
_KEPT: Final = 5000


class PodEvents:
    """Events of the pods of a namespace.

    A watch for each pod that begins would be as many connections as there are pods.

    Parameters
    ----------
    api
        The cluster.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._known: OrderedDict[str, dict[str, Object]] = OrderedDict()
        self._queues: dict[str, set[asyncio.Queue[Object]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def follow(self, uid: str) -> AsyncGenerator[Object]:
        """Yield the events of a pod, those that have come and then each as it comes, for ever."""
        queue: asyncio.Queue[Object] = asyncio.Queue()
        for event in self._known.get(uid, {}).values():
            queue.put_nowait(event)
        self._queues.setdefault(uid, set()).add(queue)
        self._begin()
        try:
            while True:
                yield await queue.get()
        finally:
            self._queues[uid].discard(queue)
            if not self._queues[uid]:
                del self._queues[uid]
            if not self._queues:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(_LINGER_SECONDS, self._end)

    async def close(self) -> None:
        """Watch no more."""
        task = self._task
        self._end()
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep())

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._known.clear()

    async def _keep(self) -> None:
        from nablahub.jobs.runners.kubernetes.api import ApiError, Away, Expired

        while True:
            with suppress(Expired, ApiError, *Away):
                events, version = await self._api.list("Event", "", fields=_FIELDS)
                for event in sorted(events, key=_age):
                    self._note(event)
                while True:
                    watch = self._api.watch("Event", "", version, fields=_FIELDS)
                    async with aclosing(watch) as changes:
                        async for kind, event in changes:
                            version = event["metadata"]["resourceVersion"]
                            if kind in ("ADDED", "MODIFIED"):
                                self._note(event)
            await asyncio.sleep(_AGAIN_SECONDS)

    def _note(self, event: Object) -> None:
        pod, uid = event["involvedObject"].get("uid", ""), event["metadata"]["uid"]
        known = self._known.setdefault(pod, {})
        before = known.get(uid)
        version = event["metadata"]["resourceVersion"]
        if before is not None and before["metadata"]["resourceVersion"] == version:
            return
        known[uid] = event
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        for queue in self._queues.get(pod, ()):
            queue.put_nowait(event)


def _age(event: Object) -> str:
    return str(event["metadata"]["creationTimestamp"])
