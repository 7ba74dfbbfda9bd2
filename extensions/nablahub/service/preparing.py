"""Threads for what an operation does before its transaction, such as reading a long spec."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakValueDictionary

#: They only compute, and Python computes in one thread at a time: more would starve the event loop.
THREADS = 2


class Preparer:
    """Runs preparations; nobody has more than one of the threads, however much they send."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "prepare")
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def run[T](self, who: str, work: Callable[[], T]) -> T:
        """Run ``work`` in a thread, after what the same user sent before."""
        async with self._turns.setdefault(who, asyncio.Lock()):
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Finish what has begun."""
        self._threads.shutdown(cancel_futures=True)
