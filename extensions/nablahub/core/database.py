"""Transactions on SQLite or PostgreSQL: they run in threads, one at a time when they write."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from pathlib import Path

from sqlalchemy import MetaData, func, select, text
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Session

from nablahub.core.engines import READERS, Backend, sqlite, told

AFTER_COMMIT = "nablahub_after_commit"
AFTER_ROLLBACK = "nablahub_after_rollback"
RING = "nablahub_ring"
#: The channel on which processes that share a database tell each other to look.
CHANNEL = "nablahub"
#: Whether what runs now acts for the leader: its transactions are refused when it is not any more.
acting: ContextVar[bool] = ContextVar("nablahub_acting", default=False)


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


def after_rollback(session: Session, callback: Callable[[], None]) -> None:
    """Call back, where :func:`after_commit` would, when the transaction is not committed."""
    session.info.setdefault(AFTER_ROLLBACK, []).append(callback)


def _call_soon(loop: asyncio.AbstractEventLoop, callbacks: list[Callable[[], None]]) -> None:
    for callback in callbacks:
        loop.call_soon(callback)


def _call(loop: asyncio.AbstractEventLoop | None, callbacks: list[Callable[[], None]]) -> None:
    if loop is None:
        for callback in callbacks:
            callback()
    elif callbacks:  # One wake for all of them.
        loop.call_soon_threadsafe(_call_soon, loop, callbacks)


def ring(session: Session) -> None:
    """Let all processes that share the database look, once the transaction is committed."""
    session.info[RING] = True


def count_by(session: Session, column: InstrumentedAttribute[str]) -> dict[str, int]:
    """Return how many rows of a table have which value in a column."""
    rows = session.execute(select(column, func.count()).group_by(column))
    return dict(rows.all())


class Database:
    """A database with one writer thread and a few readers.

    Parameters
    ----------
    place : pathlib.Path or Backend
        The SQLite file, whose folder must be there, or another database.
    """

    def __init__(self, place: Path | Backend) -> None:
        self.backend = sqlite(place) if isinstance(place, Path) else place
        self.engine = self.backend.engine
        #: Raises when this process is not the leader any more, in a transaction of it.
        self.fence: Callable[[Session], None] | None = None
        self._writer = ThreadPoolExecutor(1, "db-writer")
        self._readers = ThreadPoolExecutor(READERS, "db-reader")
        self._write_lock = threading.Lock()
        self._pool = self.engine.pool
        self._closed = False

    @property
    def shared(self) -> bool:
        """Whether other processes may work on the same database."""
        return self.backend.file is None

    async def write[T](self, work: Callable[[Session], T]) -> T:
        """Run ``work`` in one write transaction on the writer's thread.

        Raises
        ------
        StorageFull, Unavailable
            The disk is full, or the database does not answer; nothing was stored.
        """
        loop = asyncio.get_running_loop()
        # A thread of ours knows nothing of who called, so it is told.
        context = copy_context()
        return await loop.run_in_executor(
            self._writer, functools.partial(context.run, self.write_sync, work, loop)
        )

    async def read[T](self, work: Callable[[Session], T]) -> T:
        """Run ``work`` in one read transaction (a consistent snapshot) on a reader's thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, functools.partial(self.read_sync, work))

    def write_sync[T](
        self, work: Callable[[Session], T], loop: asyncio.AbstractEventLoop | None = None
    ) -> T:
        """Like :meth:`write`, in the calling thread."""
        with self._write_lock, self._session(self.backend.write) as session:
            try:
                with told():
                    if self.fence is not None and acting.get():
                        self.fence(session)
                    result = work(session)
                    if self.shared and session.info.pop(RING, False):
                        session.execute(text(f"NOTIFY {CHANNEL}"))
                    session.commit()
            except BaseException:
                _call(loop, session.info.pop(AFTER_ROLLBACK, []))
                raise
            callbacks = session.info.pop(AFTER_COMMIT, [])
        _call(loop, callbacks)
        return result

    def read_sync[T](self, work: Callable[[Session], T]) -> T:
        """Like :meth:`read`, in the calling thread."""
        with self._session(self.backend.read) as session, told():
            return work(session)

    @contextmanager
    def _session(self, begin: str) -> Iterator[Session]:
        with Session(self.engine, expire_on_commit=False) as session:
            with told():
                session.connection().exec_driver_sql(begin)
            try:
                yield session
            finally:
                # Detached first: a rollback would empty the rows that the work handed out.
                session.expunge_all()
                session.rollback()
        if self._closed:  # A thread was still at it: its connection went back to nobody.
            self._pool.dispose()

    def close(self) -> None:
        """Finish what is queued and let the connections go."""
        self._closed = True
        self._writer.shutdown()
        self._readers.shutdown()
        self.backend.dispose()
