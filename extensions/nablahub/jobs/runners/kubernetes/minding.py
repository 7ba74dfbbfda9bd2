"""Seeing one task through: from its Job to the verdict in its folder."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nablahub.core.kubernetes import KubernetesSettings
from nablahub.jobs.runners import folder as files
from nablahub.jobs.runners.contract import TaskName
from nablahub.jobs.runners.kubernetes.api import Api, ApiError, Away
from nablahub.jobs.runners.kubernetes.names import CANCEL, object_name
from nablahub.jobs.runners.kubernetes.pulls import Pulls
from nablahub.jobs.runners.kubernetes.verdict import Seen, see, verdict
from nablahub.jobs.runners.kubernetes.watcher import Watcher
from nablahub.jobs.runners.receiving import Receiving

type Object = dict[str, Any]

_LOST_BEFORE = "Its Job was removed from the cluster before anything was known of its pod."
_AGAIN_SECONDS = 1.0
#: What a pod that has not begun gets to end in.
_SOON = 1
log = logging.getLogger(__name__)


class Minder:
    """Waits for a task's end, ends it when that is wished, and writes down what became of it.

    Parameters
    ----------
    name, folder
        The task and its folder.
    api, watcher, settings
        The cluster.
    receiving
        Who writes the log.
    tell
        Called when something of the task changed.
    """

    def __init__(
        self,
        name: TaskName,
        folder: Path,
        api: Api,
        watcher: Watcher,
        settings: KubernetesSettings,
        receiving: Receiving,
        tell: Callable[[TaskName], None],
    ) -> None:
        self._name = name
        self._object = object_name(settings.hub, name)
        self._folder = folder
        self._api = api
        self._watcher = watcher
        self._settings = settings
        self._receiving = receiving
        self._tell = tell
        self._pulls: Pulls | None = None
        self._pulling: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._told: object = None
        self._overdue: float | None = None
        self._asked: set[str] = set()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def wake(self) -> None:
        """Look again: something may have changed."""
        self._changed.set()

    async def close(self) -> None:
        """Stop; the task goes on."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._stop_pulls()

    async def _run(self) -> None:
        await self._watcher.synced()
        while True:
            self._changed.clear()
            try:
                if await self._step():
                    break
            except (ApiError, *Away) as error:
                log.warning("Task %s: the cluster did not take it: %r", self._name, error)
                self._overdue = self._now() + _AGAIN_SECONDS
            patience = None if self._overdue is None else max(self._overdue - self._now(), 0)
            try:
                async with asyncio.timeout(patience):
                    await self._changed.wait()
            except TimeoutError:
                continue
        await self._stop_pulls()
        self._tell(self._name)

    async def _step(self) -> bool:
        """Do what can be done now; whether the task has ended."""
        pod = self._watcher.pod(self._name)
        wish = files.read(self._folder, files.CANCEL)
        if pod is None:
            gone = self._watcher.gone(self._name)
            if gone is not None:
                return await self._end(verdict(gone, wish))
            return await self._without_pod(wish)
        seen = see(pod)
        self._announce(seen)
        await self._tell_pulls(pod, seen)
        if seen.phase == "ended":
            return await self._end(verdict(pod, wish))
        if seen.phase == "hopeless":
            await self._remove(_SOON)
            found = verdict(None, wish)
            if wish is None:
                found |= {"verdict": "start", "message": seen.message}
            return await self._end(found)
        if wish is not None:
            await self._enforce(pod, seen, wish)
        elif seen.phase == "leaving" or seen.deleted:
            # Deleted, but still there: its node does not do it, and may never answer again.
            await self._hurry(self._grace(pod) + self._settings.stuck_seconds)
        return False

    async def _without_pod(self, wish: Object | None) -> bool:
        # Only one that is not known needs asking for: of each that vanishes the watch tells.
        job = self._watcher.job(self._name) or await self._api.get("Job", self._object)
        if job is None:
            found = verdict(None, wish)
            found["message"] = found["message"] if wish else _LOST_BEFORE
            return await self._end(found)
        if wish is not None:
            await self._remove(_SOON)
            return await self._end(verdict(None, wish))
        conditions = job.get("status", {}).get("conditions", ())
        if any(c["type"] == "Failed" and c["status"] == "True" for c in conditions):
            return await self._end(verdict(None, None))
        return False

    @staticmethod
    def _grace(pod: Object) -> float:
        """Seconds that a pod which is being deleted gets to end in."""
        return float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)

    async def _enforce(self, pod: Object, seen: Seen, wish: Object) -> None:
        """See that a task that shall end does."""
        name = pod["metadata"]["name"]
        if seen.phase == "waiting":
            if "delete" not in self._asked and not seen.deleted:
                await self._api.delete("Pod", name, grace_seconds=_SOON)
                self._asked.add("delete")
            return
        text = json.dumps({"grace": wish["grace"], "message": wish["message"]})
        if pod["metadata"].get("annotations", {}).get(CANCEL) != text:
            await self._api.patch("Pod", name, {"metadata": {"annotations": {CANCEL: text}}})
        await self._hurry(wish["grace"] + self._settings.stuck_seconds / 4)

    async def _hurry(self, seconds: float) -> None:
        """Delete the pod if it does not end in time: its node, or the way to us, may be gone."""
        if self._overdue is None:
            self._overdue = self._now() + seconds
        elif self._now() >= self._overdue:
            hard = "force" if "kill" in self._asked else "kill"
            await self._remove(0 if hard == "force" else _SOON)
            self._asked.add(hard)
            self._overdue = self._now() + self._settings.stuck_seconds / 4

    async def _remove(self, grace_seconds: int) -> None:
        await self._api.delete("Job", self._object)
        pod = self._watcher.pod(self._name)
        if pod is not None:
            name = pod["metadata"]["name"]
            await self._api.delete("Pod", name, grace_seconds=grace_seconds)

    async def _end(self, found: Object) -> bool:
        found["finished_at"] = found["finished_at"] or datetime.now(UTC).timestamp()
        mark = files.read(self._folder, files.STARTED)
        if found["started_at"] is None:
            found["started_at"] = mark["at"] if mark else found["finished_at"]
        await asyncio.to_thread(files.write, self._folder, files.STATUS, found)
        self._watcher.forget(self._name)
        return True

    async def _tell_pulls(self, pod: Object, seen: Seen) -> None:
        """Follow what the node says of the pod's images, until its command begins."""
        if seen.phase == "waiting" and self._pulls is None and "nodeName" in pod["spec"]:
            self._pulls = Pulls(self._api, self._receiving, self._name, pod)
            self._pulling = asyncio.create_task(self._pulls.follow())
        elif seen.phase != "waiting" and self._pulls is not None:
            await self._stop_pulls()
            if seen.phase == "hopeless":
                await self._pulls.finish()

    async def _stop_pulls(self) -> None:
        if self._pulling is not None:
            self._pulling.cancel()
            await asyncio.gather(self._pulling, return_exceptions=True)
            self._pulling = None

    def _announce(self, seen: Seen) -> None:
        """Tell what people see of it, when that changed."""
        told = (seen.phase, seen.ready, seen.message)
        if told != self._told:
            self._told = told
            self._tell(self._name)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
