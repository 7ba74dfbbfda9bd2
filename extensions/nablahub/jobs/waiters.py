"""Those that follow jobs: they are told of changes, and of the log meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass

from nablahub.jobs.store import JobRow


@dataclass
class Waiters:
    """Those that wait for changes of a job; used on the event loop only."""

    queues: dict[str, set[asyncio.Queue[JobRow]]]

    @contextmanager
    def of(self, job_id: str) -> Iterator[asyncio.Queue[JobRow]]:
        """Give a queue that gets the job's row after each change from now on."""
        queue: asyncio.Queue[JobRow] = asyncio.Queue()
        self.queues.setdefault(job_id, set()).add(queue)
        try:
            yield queue
        finally:
            rest = self.queues[job_id]
            rest.discard(queue)
            if not rest:
                del self.queues[job_id]

    def tell(self, row: JobRow) -> None:
        """Tell a change to those that wait."""
        for queue in self.queues.get(row.id, ()):
            queue.put_nowait(row)


async def interleaved(
    log: AsyncGenerator[bytes], changes: asyncio.Queue[JobRow]
) -> AsyncGenerator[bytes | JobRow]:
    """Yield parts of a log and changes of its job, each when it comes, until the log ends."""
    async with aclosing(log):
        part = asyncio.ensure_future(_next(log))
        change = asyncio.ensure_future(changes.get())
        try:
            while True:
                await asyncio.wait((part, change), return_when=asyncio.FIRST_COMPLETED)
                if change.done():
                    found = change.result()
                    change = asyncio.ensure_future(changes.get())
                    yield found
                if part.done():
                    if (written := part.result()) is None:
                        return
                    part = asyncio.ensure_future(_next(log))
                    yield written
        finally:
            part.cancel()
            change.cancel()
            # The log can only be closed when nobody waits in it any more.
            await asyncio.gather(part, change, return_exceptions=True)


async def _next(log: AsyncGenerator[bytes]) -> bytes | None:
    return await anext(log, None)
