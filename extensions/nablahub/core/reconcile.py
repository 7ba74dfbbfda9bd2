"""The loop that closes the gap between what is wanted and what is.

Requests write what is wanted; a step looks at one thing, does the next necessary act and says
when to look again. A queue that never holds one item twice feeds the steps.

Of several processes the leader alone takes steps; what the others want looked at, they ask it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from sqlalchemy.orm import Session

from nablahub.core import wakes
from nablahub.core.database import Database, acting, after_commit
from nablahub.core.lease import Lease

log = logging.getLogger(__name__)

#: Looks at one thing; returns seconds until it wants to look again, or None.
Step = Callable[[str], Awaitable[float | None]]
Item = tuple[str, str]

FIRST_DELAY = 0.2
LONGEST_DELAY = 30.0


class Reconciler:
    """A de-duplicating work queue with back-off per item.

    One item is never in two steps at once; waking it while its step runs makes it run once more
    afterwards. A step that raises is tried again, later each time, and holds nobody else up.

    Parameters
    ----------
    lease : Lease or None
        Who leads; None: this process.
    workers : int
        How many different items may be in a step at the same time; a quarter as many more of
        those about which there is news.
    """

    def __init__(self, lease: Lease | None = None, workers: int = 32) -> None:
        self._lease = lease
        self._steps: dict[str, Step] = {}
        self._stale: dict[str, Callable[[str], object]] = {}
        self._queued: dict[Item, float] = {}
        self._running: set[Item] = set()
        self._again: dict[Item, bool] = {}
        self._failures: dict[Item, int] = {}
        self._timers: dict[Item, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(workers)
        self._news_slots = asyncio.Semaphore(max(1, workers // 4))
        self._closed = False
        self._open = lease is None or lease.held

    def register(
        self, kind: str, step: Step, *, stale: Callable[[str], object] | None = None
    ) -> None:
        """Say who looks after things of a kind; ValueError when somebody does already.

        Parameters
        ----------
        stale : callable or None
            Told an item that another process has changed, before the step looks at it.
        """
        if kind in self._steps:
            raise ValueError(f"two slices want to reconcile {kind!r}")
        self._steps[kind] = step
        if stale is not None:
            self._stale[kind] = stale

    def wake(self, session: Session, kind: str, item_id: str) -> None:
        """Look at the item once the session's transaction is committed."""
        if self.leads:
            after_commit(session, lambda: self.wake_now(kind, item_id))
        else:
            wakes.ask(session, kind, item_id)

    def open(self) -> None:
        """Take steps from now on: this process leads, and its services are ready for it."""
        self._open = True

    @property
    def leads(self) -> bool:
        """Whether steps are taken here."""
        return self._open and (self._lease is None or self._lease.held)

    @property
    def lag(self) -> float:
        """Seconds for which the longest waiting item waits for its step."""
        return time.monotonic() - min(self._queued.values()) if self._queued else 0.0

    @property
    def waiting(self) -> int:
        """How many items wait for a step."""
        return len(self._queued)

    async def take(self, database: Database) -> None:
        """Look at what other processes asked for."""
        if not self.leads or not await database.read(wakes.waiting):
            return
        before = acting.set(True)
        try:
            asked = await database.write(wakes.take)
        finally:
            acting.reset(before)
        for kind, item_id in asked:
            stale = self._stale.get(kind)
            if stale is not None:
                stale(item_id)
            self.wake_now(kind, item_id)

    def wake_now(self, kind: str, item_id: str, *, news: bool = False) -> None:
        """Look at the item now (on the event loop's thread).

        Parameters
        ----------
        news : bool
            Whether something happened to it out there, as a job's end: that does not wait behind
            thousands of others that are still to be started.
        """
        item = (kind, item_id)
        if self._closed or kind not in self._steps or not self.leads:
            return
        timer = self._timers.pop(item, None)
        if timer is not None:
            timer.cancel()
        if item in self._running:
            self._again[item] = news or self._again.get(item, False)
            return
        self._running.add(item)
        self._queued[item] = time.monotonic()
        task = asyncio.get_running_loop().create_task(self._run(item, news))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def wake_later(self, kind: str, item_id: str, seconds: float) -> None:
        """Look at the item after some seconds, or earlier when somebody wakes it."""
        item = (kind, item_id)
        if self._closed:
            return
        old = self._timers.pop(item, None)
        if old is not None:
            old.cancel()
        loop = asyncio.get_running_loop()
        self._timers[item] = loop.call_later(seconds, self._fire, item)

    def _fire(self, item: Item) -> None:
        self._timers.pop(item, None)
        self.wake_now(*item)

    async def _run(self, item: Item, news: bool) -> None:
        kind, item_id = item
        delay: float | None = None
        acting.set(True)
        try:
            async with self._news_slots if news else self._slots:
                self._queued.pop(item, None)
                if not self.leads:
                    return
                delay = await self._steps[kind](item_id)
            self._failures.pop(item, None)
        except Exception:  # One bad item must not stop the loop for the others.
            count = self._failures[item] = self._failures.get(item, 0) + 1
            delay = min(FIRST_DELAY * 2 ** (count - 1), LONGEST_DELAY)
            log.exception("Looking after %s %s failed; again in %.1f s", kind, item_id, delay)
        finally:
            self._running.discard(item)
            self._queued.pop(item, None)
        if item in self._again:
            self.wake_now(kind, item_id, news=self._again.pop(item))
        elif delay is not None:
            self.wake_later(kind, item_id, delay)

    async def close(self) -> None:
        """Start no more steps and wait for those that run."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
