"""How processes that share a database hear that another one wrote: PostgreSQL's LISTEN.

The bell only says that there may be something; what it is stands in tables. So nothing is lost when
it is not heard: listeners look from time to time as well.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sqlalchemy.exc import SQLAlchemyError

from nablahub.core.database import CHANNEL, Database
from nablahub.core.errors import NablaError

log = logging.getLogger(__name__)

#: Seconds between two looks when nothing is heard.
LOOK = 1.0
RETRY = 2.0


class Bell:
    """Calls those that look whenever a process rang, and once a second.

    Parameters
    ----------
    database : Database
        A shared one.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._looks: list[Callable[[], Awaitable[None]]] = []
        self._rung = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def call(self, look: Callable[[], Awaitable[None]]) -> None:
        """Have ``look`` called; never twice at a time."""
        self._looks.append(look)

    def start(self) -> None:
        """Begin to listen."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._listen()), loop.create_task(self._look())]

    async def close(self) -> None:
        """Listen no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _look(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK):
                    await self._rung.wait()
            except TimeoutError:
                pass
            self._rung.clear()
            for look in self._looks:
                try:
                    await look()
                except (NablaError, SQLAlchemyError) as error:
                    log.warning("Nothing is heard of other processes just now: %s", error)

    async def _listen(self) -> None:
        from psycopg import AsyncConnection, Error  # only where PostgreSQL is used

        arguments = self._database.backend.arguments
        assert arguments is not None
        while True:
            try:
                async with await AsyncConnection.connect(**arguments(), autocommit=True) as found:
                    await found.execute(f"LISTEN {CHANNEL}")
                    self._rung.set()
                    async for _ in found.notifies():
                        self._rung.set()
            except (Error, NablaError) as error:
                log.warning("The bell is not heard just now: %s", error)
            await asyncio.sleep(RETRY)
