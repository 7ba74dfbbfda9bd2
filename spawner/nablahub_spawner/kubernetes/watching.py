"""What the spawner knows of its pods by watching them, and what it says while it cannot."""

from __future__ import annotations

from typing import Any

import aiohttp
from kubernetes_asyncio.client import ApiException

from nablahub_spawner.kubernetes.reflectors import Bell, Events, Pods

#: What an API that is away, or is just being restarted, makes of a request.
AWAY = (ApiException, aiohttp.ClientError, OSError, TimeoutError)


class Watching:
    """The part of a KubeSpawner that looks at the cluster through shared watches."""

    #: Rings at each change of a pod or an event, whichever hub's server it is of.
    _bell = Bell()
    reflectors: dict[Any, Any]
    component_label: str
    log: Any
    _log_name: str

    async def poll(self) -> int | None:
        """Return None while the server runs, else how it ended.

        Nobody knows while the API is away, so it counts as running: the hub would take it for
        ended otherwise, and forget a server that people work on.
        """
        try:
            found: int | None = await super().poll()  # type: ignore[misc]  # KubeSpawner's
        except AWAY as error:
            self.log.warning("Whether %s still runs is not known: %r", self._log_name, error)
            return None
        return found

    async def _start_watching_pods(self, replace: bool = False) -> Pods:
        labels = {"component": self.component_label}
        found: Pods = await self._watching("pods", Pods, replace, labels=labels)
        return found

    async def _start_watching_events(self, replace: bool = False) -> Events:
        found: Events = await self._watching("events", Events, replace)
        return found

    async def _watching(self, kind: str, cls: type[Any], replace: bool, **more: Any) -> Any:
        """Return a reflector that has seen everything; one that could not begin is not kept."""
        try:
            return await self._start_reflector(  # type: ignore[attr-defined]  # KubeSpawner's
                kind=kind, reflector_class=cls, replace=replace, bell=self._bell, **more
            )
        except AWAY:
            self.reflectors.pop(self._get_reflector_key(kind), None)  # type: ignore[attr-defined]
            raise
