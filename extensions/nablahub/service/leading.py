"""Begins to act when this process leads, and ends the process when it does not any more."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

from nablahub.core.bell import Bell
from nablahub.core.context import Context
from nablahub.core.database import acting

log = logging.getLogger(__name__)

EXIT_LOST = 3
WATCH_SECONDS = 0.5


def end_process() -> None:
    """End at once: what this process knows of its work may not be true any more."""
    log.critical("Another process may lead now: this one ends, and starts afresh")
    logging.shutdown()
    os._exit(EXIT_LOST)


class Leading:
    """The part of a process in the leadership.

    A process that leads goes on to until it ends. One that could not renew its lease ends at
    once, as Kubernetes' own controllers do: what it still remembers must not meet with what
    another one has done since.

    Parameters
    ----------
    context : Context
        Its lease, reconciler and services.
    ended : callable
        What to do when the lease is lost.
    """

    def __init__(self, context: Context, ended: Callable[[], None] = end_process) -> None:
        self._context = context
        self._ended = ended
        self._bell: Bell | None = None
        self._tasks: list[asyncio.Task[None]] = []
        #: Set when the services have taken up what was unfinished.
        self.ready = asyncio.Event()

    async def start(self) -> None:
        """Lead, or begin to wait for it."""
        context, loop = self._context, asyncio.get_running_loop()
        if not context.database.shared:
            await self._begin()
            return
        await context.events.look()
        self._bell = Bell(context.database)
        self._bell.call(context.events.look)
        self._bell.call(lambda: context.reconciler.take(context.database))
        self._bell.start()
        self._tasks.append(loop.create_task(self._watch()))
        context.lease.start(lambda: _call(loop, self._won))

    async def stop(self) -> None:
        """Give the leadership back."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._bell is not None:
            await self._bell.close()
        await asyncio.to_thread(self._context.lease.stop)

    def _won(self) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(self._take_up()))

    async def _take_up(self) -> None:
        try:
            await self._begin()
        except asyncio.CancelledError:
            raise
        except Exception:  # Whoever leads and cannot begin must let another one lead.
            log.exception("What was left unfinished could not be taken up")
            self._ended()

    async def _begin(self) -> None:
        acting.set(True)
        services = self._context.services
        for service in services:
            if hasattr(service, "lead"):
                await service.lead()
        self._context.reconciler.open()
        for service in services:
            if hasattr(service, "resume"):
                await self._context.database.write(service.resume)
        self.ready.set()

    async def _watch(self) -> None:
        while not self._context.lease.lost:
            await asyncio.sleep(WATCH_SECONDS)
        self._ended()


def _call(loop: asyncio.AbstractEventLoop, work: Callable[[], None]) -> None:
    loop.call_soon_threadsafe(work)
