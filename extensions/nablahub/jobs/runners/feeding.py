"""Bytes that come over the network, as a file for a thread that reads them."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

_AHEAD: Final = 16
#: Of our own: they wait for what others send, and nobody shall wait for a thread meanwhile.
_THREADS: Final = ThreadPoolExecutor(64, "nablahub-fed")


class Fed:
    """The end of it that is read, in a thread.

    Parameters
    ----------
    taken
        Called in that thread when there is room for more.
    """

    def __init__(self, taken: Callable[[], object]) -> None:
        self.waiting: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        self._taken = taken
        self._rest = b""
        self._over = False

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, empty at the end; ConnectionError when the rest never came."""
        while not self._rest and not self._over:
            data = self.waiting.get()
            self._taken()
            if data is None:
                raise ConnectionError("the sender went away")
            self._rest, self._over = data, not data
        found, self._rest = self._rest[:size], self._rest[size:]
        return found


async def feed[T](chunks: AsyncIterator[bytes], work: Callable[[Fed], T]) -> T:
    """Have a thread read what comes, and return what it made of it.

    It is waited for whatever happens. Once it has ended nothing more is taken.

    Parameters
    ----------
    chunks
        The bytes, as they come.
    work
        Reads them; it blocks.
    """
    loop = asyncio.get_running_loop()
    room = asyncio.Event()
    fed = Fed(lambda: loop.call_soon_threadsafe(room.set))
    task: asyncio.Future[T] = loop.run_in_executor(_THREADS, work, fed)

    async def put(data: bytes | None) -> None:
        while not task.done():
            room.clear()
            try:
                fed.waiting.put_nowait(data)
            except queue.Full:
                coming = asyncio.ensure_future(room.wait())
                either: set[asyncio.Future[Any]] = {coming, task}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                coming.cancel()
            else:
                break

    try:
        async for data in chunks:
            if data:
                await put(data)
            if task.done():
                break
    except asyncio.CancelledError:
        await put(None)
        await asyncio.gather(task, return_exceptions=True)
        raise
    except BaseException:
        await put(None)
        await task  # It says that nobody sends any more.
        raise
    await put(b"")
    return await task
