"""What looks after one task in the cluster until it has ended."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable

from nablahub.jobs.runners.contract import TaskName
from nablahub.jobs.runners.kubernetes.api import ApiError, Away
from nablahub.jobs.runners.kubernetes.watcher import Watcher

_AGAIN_SECONDS = 1.0
log = logging.getLogger(__name__)


class Attendant(ABC):
    """Takes a step when something changed, or when a time has come, until the task has ended.

    Parameters
    ----------
    name
        The task.
    watcher
        What is seen of the cluster; no step is taken before it has seen all.
    tell
        Called when something of the task changed.
    """

    def __init__(self, name: TaskName, watcher: Watcher, tell: Callable[[TaskName], None]) -> None:
        self._name = name
        self._watcher = watcher
        self._tell = tell
        self._told: object = None
        #: When to look again, by the loop's clock, though nothing changed; None: never.
        self._overdue: float | None = None
        self._changed = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def wake(self) -> None:
        """Look again: something may have changed."""
        self._changed.set()

    async def close(self) -> None:
        """Stop; the task goes on."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._rest()

    @abstractmethod
    async def _step(self) -> bool:
        """Do what can be done now; whether the task has ended."""

    async def _rest(self) -> None:  # noqa: B027 - some have nothing beside
        """Stop what goes on beside the steps."""

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
        await self._rest()
        self._tell(self._name)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
