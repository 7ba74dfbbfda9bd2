"""Limits of a server without root: processors by affinity, memory by looking."""

from __future__ import annotations

import itertools
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from tornado.ioloop import PeriodicCallback

from nablahub.core.pids import send
from nablahub_spawner.process import Identity, descendants

_turn = itertools.count()


def pick_cpus(count: int) -> set[int]:
    """Return that many of the processors we may use, another set each time.

    Spread by load would need to know every other server; a shifting window does as well on the
    few processors of one machine.
    """
    usable = sorted(os.sched_getaffinity(0))
    if count >= len(usable):
        return set(usable)
    first = next(_turn) * count
    return {usable[(first + n) % len(usable)] for n in range(count)}


@contextmanager
def on_cpus(cpus: set[int]) -> Iterator[None]:
    """Start processes on those processors within the block.

    A child inherits them from the thread that starts it; set on the child afterwards, they would
    miss what it has started meanwhile.
    """
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class MemoryWatch:
    """Ends the biggest process of a server that takes more than its instance type has.

    That is what the kernel's own out-of-memory killer does in a container: usually a notebook's
    kernel goes, the server stays and says so.

    Parameters
    ----------
    identity : Identity
        The server's keeper.
    limit : int
        Bytes.
    interval : float
        Seconds between looks.
    log : logging.Logger
        Told when something was ended.
    """

    def __init__(
        self, identity: Identity, limit: int, interval: float, log: logging.Logger
    ) -> None:
        self._identity = identity
        self._limit = limit
        self._log = log
        self._callback = PeriodicCallback(self.look, interval * 1000)

    def start(self) -> None:
        """Look from now on."""
        self._callback.start()

    def stop(self) -> None:
        """Look no more."""
        self._callback.stop()

    def look(self) -> None:
        """Look once."""
        sizes: dict[int, int] = {}
        for process in descendants(self._identity.pid):
            try:
                memory = process.memory_info()
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            sizes[process.pid] = max(0, memory.rss - memory.shared)
        total = sum(sizes.values())
        if total > self._limit and sizes:
            biggest = max(sizes, key=lambda pid: sizes[pid])
            self._log.warning(
                "Server %d takes %d MiB of %d: ending its biggest process %d",
                *(self._identity.pid, total >> 20, self._limit >> 20, biggest),
            )
            send(biggest, signal.SIGKILL)
