"""KubeSpawner's views of pods and events, with a bell: who waits is woken, and nobody polls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from kubespawner.spawner import EventReflector, PodReflector

#: Between two times of watching, when the first was given up.
AGAIN_SECONDS = 5.0


class Bell:
    """Wakes all who wait, each time it rings."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake who waits now."""
        self._rung.set()
        self._rung = asyncio.Event()

    @property
    def next(self) -> asyncio.Event:
        """What is set at the next ring: take it before looking, wait for it after."""
        return self._rung


class Noticed(dict[str, Any]):
    """A dict that tells of its changes, and finds events by what they are about.

    There are as many events as there are pods, and every server that starts asks for its own at
    each change: none of them looks at all.
    """

    def __init__(self, content: dict[str, Any], notice: Callable[[], None]) -> None:
        super().__init__(content)
        self._notice = notice
        self._about: dict[str, dict[str, Any]] = {}
        for key, value in content.items():
            self._enter(key, value)

    def __setitem__(self, key: str, value: Any) -> None:
        self._leave(key)
        super().__setitem__(key, value)
        self._enter(key, value)
        self._notice()

    def pop(self, key: str, *default: Any) -> Any:
        """Remove a key, and tell."""
        self._leave(key)
        found = super().pop(key, *default)
        self._notice()
        return found

    def about(self, *objects: str) -> list[Any]:
        """Return the events about objects of these names or uids, in no order."""
        found: dict[str, Any] = {}
        for each in objects:
            found |= self._about.get(each, {})
        return list(found.values())

    def _enter(self, key: str, value: Any) -> None:
        for name in _involved(value):
            self._about.setdefault(name, {})[key] = value

    def _leave(self, key: str) -> None:
        for name in _involved(self.get(key, {})):
            known = self._about.get(name, {})
            known.pop(key, None)
            if not known:
                self._about.pop(name, None)


def _involved(event: Any) -> set[str]:
    about = event.get("involvedObject") or {}
    return {about[field] for field in ("uid", "name") if about.get(field)}


class _Ringing:
    """Rings a bell when what a reflector shows has changed."""

    resources: dict[str, Any]
    _stopping: bool

    def __init__(self, *args: Any, bell: Bell, **more: Any) -> None:
        super().__init__(*args, **more)
        self.bell = bell

    async def _list_and_update(self, resource_version: str | None = None) -> str:
        found: str = await super()._list_and_update(resource_version)  # type: ignore[misc]
        self.resources = Noticed(self.resources, self.bell.ring)
        self.bell.ring()
        return found

    async def _watch_and_update(self) -> None:
        """Watch until told to stop: KubeSpawner's gives up a minute after the API went away."""
        while not self._stopping:
            await super()._watch_and_update()  # type: ignore[misc]
            if not self._stopping:
                await asyncio.sleep(AGAIN_SECONDS)


class Pods(_Ringing, PodReflector):  # type: ignore[misc]  # KubeSpawner ships no types
    """Shows the pods of single-user servers."""


class Events(_Ringing, EventReflector):  # type: ignore[misc]  # KubeSpawner ships no types
    """Shows all events of the namespace: those of claims as well."""
