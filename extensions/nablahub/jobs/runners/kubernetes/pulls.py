"""Telling in a task's log that its image is being pulled, and why that fails."""

from __future__ import annotations

from contextlib import aclosing, suppress
from typing import Any

from nablahub.jobs.runners.contract import TaskName
from nablahub.jobs.runners.kubernetes.api import Api, ApiError, Away
from nablahub.jobs.runners.receiving import Receiving

type Object = dict[str, Any]

#: What a kubelet says when it really pulls; of an image that is there it says `Pulled` alone.
_TOLD = ("Pulling", "Failed", "ErrImageNeverPull", "InspectFailed")


class Pulls:
    """The events of one pod that belong into its task's log.

    Parameters
    ----------
    api
        The cluster.
    receiving
        Who writes the log.
    name
        The task.
    pod
        Its pod, or that of one of its nodes.
    node
        Which of its several nodes that is; None when there is one.
    """

    def __init__(
        self, api: Api, receiving: Receiving, name: TaskName, pod: Object, node: int | None = None
    ) -> None:
        self._api = api
        self._receiving = receiving
        self._name = name
        self._node = node
        self._uid = str(pod["metadata"]["uid"])
        self._pulled = False

    async def follow(self) -> None:
        """Tell each event as it comes, until this is cancelled."""
        async with aclosing(self._api.events.follow(self._uid)) as events:
            async for event in events:
                await self._tell(event)

    async def finish(self) -> None:
        """Tell those that have come and were not told."""
        with suppress(ApiError, *Away):
            fields = f"involvedObject.uid={self._uid}"
            events, _ = await self._api.list("Event", "", fields=fields)
            for event in sorted(events, key=lambda e: e["metadata"]["creationTimestamp"]):
                await self._tell(event)

    async def _tell(self, event: Object) -> None:
        reason = event.get("reason")
        # Of an image that was pulled, also how long it took.
        self._pulled = self._pulled or reason == "Pulling"
        if reason in _TOLD or (reason == "Pulled" and self._pulled):
            text = f"nablahub: {event.get('message', '').strip()}\n"
            await self._receiving.say(self._name, event["metadata"]["uid"], text, node=self._node)
