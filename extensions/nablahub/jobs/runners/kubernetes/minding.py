"""Seeing one task through: from its Job to the verdict in its folder."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nablahub.core.kubernetes import KubernetesSettings
from nablahub.jobs.runners import folder as files
from nablahub.jobs.runners.contract import TaskName
from nablahub.jobs.runners.kubernetes.api import Api
from nablahub.jobs.runners.kubernetes.attending import Attendant
from nablahub.jobs.runners.kubernetes.delivery import with_delivery
from nablahub.jobs.runners.kubernetes.names import BEGIN, CANCEL, object_name
from nablahub.jobs.runners.kubernetes.pod import writes_buckets
from nablahub.jobs.runners.kubernetes.pulls import Pulls
from nablahub.jobs.runners.kubernetes.together import (
    Node,
    see_all,
    verdict_all,
    with_lack,
    with_refusal,
)
from nablahub.jobs.runners.kubernetes.verdict import Seen, verdict
from nablahub.jobs.runners.kubernetes.watcher import Watcher
from nablahub.jobs.runners.receiving import Receiving

type Object = dict[str, Any]

_LOST_BEFORE = "Its Job was removed from the cluster before anything was known of its pod."
#: What a pod that has not begun gets to end in.
_SOON = 1
#: Seconds that one gets at most, beside its command's grace, when it is to end.
_PATIENCE = 25.0


class Minder(Attendant):
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
        super().__init__(name, watcher, tell)
        self._object = object_name(settings.hub, name)
        self._folder = folder
        self._api = api
        self._settings = settings
        self._receiving = receiving
        self._pulls: dict[int, Pulls] = {}
        self._pulling: dict[int, asyncio.Task[None]] = {}
        self._asked: set[str] = set()

    async def _step(self) -> bool:
        """Do what can be done now; whether the task has ended."""
        nodes = self._watcher.nodes(self._name)
        wish = files.read(self._folder, files.CANCEL)
        if not nodes:
            return await self._without_pod(wish)
        count = self._count()
        seen = see_all(nodes, count, over=self._over())
        if seen.phase == "waiting" and len(nodes) < count:
            seen = with_refusal(seen, self._watcher.refusal(self._name))
        seen = with_lack(seen, self._watcher.lack(self._name))
        if seen.phase == "running" and count > 1:
            await self._begin(nodes)
        self._announce(seen)
        await self._tell_pulls(nodes, count)
        if seen.phase == "ended":
            return await self._end(verdict_all(nodes, count, wish))
        if seen.phase == "hopeless":
            return await self._give_up(seen, wish)
        if wish is not None:
            if count > 1 and seen.phase == "waiting":
                await self._remove(_SOON)
                return await self._end(verdict(None, wish))
            await self._enforce(nodes, wish, brings=seen.phase == "leaving")
        elif seen.phase == "leaving" or seen.deleted:
            # Deleted, but still there: its node does not do it, and may never answer again.
            seconds = _grace(nodes, count) + self._settings.stuck_seconds
            await self._hurry(seconds, trees=None if seen.deleted else True)
        return False

    async def _give_up(self, seen: Seen, wish: Object | None) -> bool:
        await self._remove(_SOON)
        found = verdict(None, wish)
        if wish is None:
            found |= {"verdict": seen.verdict, "message": seen.message}
        return await self._end(found)

    def _count(self) -> int:
        """How many nodes the task has."""
        job = self._watcher.job(self._name)
        if job is not None:
            return int(job["spec"].get("completions", 1))
        mark = files.read(self._folder, files.STARTED)
        return int(mark.get("nodes", 1)) if mark else 1

    def _over(self) -> bool:
        """Whether the cluster will make no more pods for the task."""
        job = self._watcher.job(self._name)
        return job is None or _finished(job)

    async def _begin(self, nodes: dict[int, Node]) -> None:
        """Tell all nodes that all are there."""
        change = {"metadata": {"annotations": {BEGIN: "now"}}}
        for node in nodes.values():
            if not node.gone and not node.begun:
                await self._api.patch("Pod", node.pod["metadata"]["name"], change)

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
        if _finished(job):
            return await self._end(verdict(None, None))
        seen = with_refusal(Seen("waiting"), self._watcher.refusal(self._name))
        if seen.phase == "hopeless":
            return await self._give_up(seen, wish)
        self._announce(seen)
        return False

    async def _enforce(self, nodes: dict[int, Node], wish: Object, *, brings: bool) -> None:
        """See that a task that shall end does.

        Parameters
        ----------
        brings
            Whether its command has ended.
        """
        text = json.dumps({"grace": wish["grace"], "message": wish["message"]})
        hurry = False
        for node in nodes.values():
            meta, seen = node.pod["metadata"], node.seen
            if seen.phase == "waiting":
                if "delete" not in self._asked and not seen.deleted:
                    await self._api.delete("Pod", meta["name"], grace_seconds=_SOON)
                    self._asked.add("delete")
                continue
            if not node.gone and meta.get("annotations", {}).get(CANCEL) != text:
                change = {"metadata": {"annotations": {CANCEL: text}}}
                await self._api.patch("Pod", meta["name"], change)
            hurry = True
        if hurry:
            patience = min(self._settings.stuck_seconds / 4, _PATIENCE)
            patience += 0 if brings else wish["grace"]
            stage = f"end, {brings}"
            if stage not in self._asked and "kill" not in self._asked:
                # From now on, however long it was given before.
                self._asked.add(stage)
                self._overdue = self._now() + patience
            # What was written for a bucket is nowhere else; folders may be cut short.
            writes = any(map(writes_buckets, (node.pod for node in nodes.values())))
            trees = False if brings and writes else None
            await self._hurry(patience, trees=trees)

    async def _hurry(self, seconds: float, *, trees: bool | None = None) -> None:
        """Delete the pod if it does not end in time: its node, or the way to us, may be gone.

        Parameters
        ----------
        seconds
            How long it has from now on.
        trees
            It has as long since anything came of it, which may be much: with the folders that it
            left counted or not. None: it has not.
        """
        heard = -math.inf if trees is None else self._receiving.heard(self._name, trees=trees)
        if self._overdue is None:
            self._overdue = self._now() + seconds
        elif heard + seconds > self._now():
            self._overdue = heard + seconds
        elif self._now() >= self._overdue:
            hard = "force" if "kill" in self._asked else "kill"
            await self._remove(0 if hard == "force" else _SOON)
            self._asked.add(hard)
            self._overdue = self._now() + min(self._settings.stuck_seconds / 4, _PATIENCE)

    async def _remove(self, grace_seconds: int) -> None:
        await self._api.delete("Job", self._object)
        for node in self._watcher.nodes(self._name).values():
            if not node.gone:
                name = node.pod["metadata"]["name"]
                await self._api.delete("Pod", name, grace_seconds=grace_seconds)

    async def _end(self, found: Object) -> bool:
        mark = files.read(self._folder, files.STARTED) or {}
        nodes = self._watcher.nodes(self._name)
        there = not mark.get("outputs", False) or (self._folder / "outputs").is_dir()
        wish = files.read(self._folder, files.CANCEL)
        first = nodes[min(nodes)].pod if nodes else None
        found = with_delivery(found, first, wish, there=there)
        found["finished_at"] = found["finished_at"] or datetime.now(UTC).timestamp()
        if found["started_at"] is None:
            found["started_at"] = mark.get("at", found["finished_at"])
        await asyncio.to_thread(files.write, self._folder, files.STATUS, found)
        self._watcher.forget(self._name)
        return True

    async def _tell_pulls(self, nodes: dict[int, Node], count: int) -> None:
        """Follow what the cluster's nodes say of the pods' images, until their commands begin."""
        for number, node in nodes.items():
            phase, known = node.seen.phase, self._pulls.get(number)
            if phase == "waiting" and known is None and "nodeName" in node.pod["spec"]:
                of = number if count > 1 else None
                pulls = Pulls(self._api, self._receiving, self._name, node.pod, of)
                self._pulls[number] = pulls
                self._pulling[number] = asyncio.create_task(pulls.follow())
            elif phase != "waiting" and number in self._pulling:
                await self._stop_pulls(number)
                if phase == "hopeless" and known is not None:
                    await known.finish()

    async def _rest(self) -> None:
        await self._stop_pulls()

    async def _stop_pulls(self, *numbers: int) -> None:
        for number in numbers or tuple(self._pulling):
            following = self._pulling.pop(number)
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    def _announce(self, seen: Seen) -> None:
        """Tell what people see of it, when that changed."""
        told = (seen.phase, seen.ready, seen.message)
        if told != self._told:
            self._told = told
            self._tell(self._name)


def _finished(job: Object) -> bool:
    conditions = job.get("status", {}).get("conditions", ())
    return any(c["type"] in ("Failed", "Complete") and c["status"] == "True" for c in conditions)


def _grace(nodes: dict[int, Node], count: int) -> float:
    """Seconds that pods get to end in which are deleted, or soon will be for another's failure."""
    graces = []
    for node in nodes.values():
        asked = node.pod["metadata"].get("deletionGracePeriodSeconds") or 0
        own = node.pod["spec"].get("terminationGracePeriodSeconds", 30) if count > 1 else 0
        graces.append(float(max(asked, own)))
    return max(graces)
