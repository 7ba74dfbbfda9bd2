"""One SQLite file, one writer: transactions run in threads, one at a time when they write."""

from __future__ import annotations

import asyncio
import functools
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, create_engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Session

from nablahub.core.errors import StorageFull

AFTER_COMMIT = "nablahub_after_commit"
READERS = 4


class Base(DeclarativeBase):
    """Base of every table; constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def after_commit(session: Session, callback: Callable[[], None]) -> None:
    """Call back once the session's transaction is committed; never after a rollback.

    The callback runs on the event loop when the work was started from one, else in the thread
    that committed.
    """
    session.info.setdefault(AFTER_COMMIT, []).append(callback)


def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
    # The driver's own BEGIN is switched off: we say BEGIN IMMEDIATE or BEGIN ourselves, because
    # a deferred transaction that turns into a writer can fail with "database is locked".
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=10000",
        "temp_store=MEMORY",
    ):  # fmt: skip
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


class Database:
    """A database with one writer thread and a few readers.

    Parameters
    ----------
    path : pathlib.Path
        The SQLite file; its folder must be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine = create_engine(
            f"sqlite:///{path}",
            pool_size=READERS + 2,
            connect_args={"check_same_thread": False, "timeout": 10},
        )
        event.listen(self.engine, "connect", _prepare)
        self._writer = ThreadPoolExecutor(1, "db-writer")
        self._readers = ThreadPoolExecutor(READERS, "db-reader")
        self._write_lock = threading.Lock()

    async def write[T](self, work: Callable[[Session], T]) -> T:
        """Run ``work`` in one write transaction on the writer's thread.

        Raises
        ------
        StorageFull
            When the disk is full; nothing was stored.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._writer, functools.partial(self.write_sync, work, loop)
        )

    async def read[T](self, work: Callable[[Session], T]) -> T:
        """Run ``work`` in one read transaction (a consistent snapshot) on a reader's thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, functools.partial(self.read_sync, work))

    def write_sync[T](
        self, work: Callable[[Session], T], loop: asyncio.AbstractEventLoop | None = None
    ) -> T:
        """Like :meth:`write`, in the calling thread."""
        with self._write_lock, self._session("BEGIN IMMEDIATE") as session:
            with full_disk():
                result = work(session)
                session.commit()
            callbacks = session.info.pop(AFTER_COMMIT, [])
        for callback in callbacks:
            if loop is None:
                callback()
            else:
                loop.call_soon_threadsafe(callback)
        return result

    def read_sync[T](self, work: Callable[[Session], T]) -> T:
        """Like :meth:`read`, in the calling thread."""
        with self._session("BEGIN") as session:
            return work(session)

    @contextmanager
    def _session(self, begin: str) -> Iterator[Session]:
        with Session(self.engine, expire_on_commit=False) as session:
            with full_disk():
                session.connection().exec_driver_sql(begin)
            try:
                yield session
            finally:
                # Detached first: a rollback would empty the rows that the work handed out.
                session.expunge_all()
                session.rollback()

    def close(self) -> None:
        """Finish what is queued and close the file."""
        self._writer.shutdown()
        self._readers.shutdown()
        self.engine.dispose()


@contextmanager
def full_disk() -> Iterator[None]:
    """Turn SQLite's own word for a full disk into ours."""
    try:
        yield
    except OperationalError as error:
        if re.search(r"disk is full|disk I/O error|unable to open database", str(error.orig)):
            raise StorageFull(
                "The disk that holds the hub's state is full; nothing was stored.",
                hint="Free some space (an administrator can look at `nablahub status`), then "
                "try again.",
            ) from error
        raise
