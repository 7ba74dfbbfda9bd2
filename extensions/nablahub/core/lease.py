"""Who leads: of the processes that share a database one acts, the others answer requests.

The lease is a row of that database, and not a Lease object of Kubernetes: what it must fence are
writes to the database, which can check it in their own transaction, and it is there on any machine.

* The leader renews its lease; others take it when it has run out by the database's clock.
* A leader that could not renew stops :data:`MARGIN` seconds before that by its own clock, which
  began to run before it asked: so it has stopped when another one starts.
* Each transaction of a step checks the term (:meth:`Lease.fence`). Who takes the lease holds the
  lock of writers, so nothing that an older term wrote comes after the newer one's first look.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from sqlalchemy import BigInteger, Float, Integer, String, Table, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapped, Session, mapped_column

from nablahub.core.database import Base, Database
from nablahub.core.errors import NablaError, Unavailable

log = logging.getLogger(__name__)

TTL: Final = 10.0
#: A leader renews, and others look, so often.
RENEW: Final = 2.0
LOOK: Final = 1.0
MARGIN: Final = 3.0
_ONLY: Final = 1


class LeaderRow(Base):
    """The lease; one row. ``until`` is in seconds since 1970 by the database's clock."""

    __tablename__ = "leader"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    term: Mapped[int] = mapped_column(BigInteger)
    holder: Mapped[str] = mapped_column(String(64))
    address: Mapped[str] = mapped_column(String(255))
    until: Mapped[float] = mapped_column(Float)


_LEADER = cast("Table", LeaderRow.__table__)
#: PostgreSQL's clock, not that of the transaction's begin.
_NOW = func.extract("epoch", func.clock_timestamp()).cast(Float)


class LeaseLost(NablaError):
    """This process is not the leader any more; what it wanted to write was not written."""

    code = "lease_lost"


class NoLeader(Unavailable):
    """No process leads just now."""

    code = "no_leader"


@dataclass(frozen=True)
class Held:
    """A lease that this process has."""

    term: int
    #: By this machine's monotonic clock.
    stop: float


class Lease:
    """Leadership of one process.

    Parameters
    ----------
    database : Database
        Where it is kept. One that is not shared needs no lease: whoever has it leads.
    address : str
        Where other processes reach this one, such as ``http://10.0.0.7:8000``.
    ttl : float
        Seconds for which a lease holds.
    """

    def __init__(self, database: Database, address: str = "", ttl: float = TTL) -> None:
        self._database = database
        self._ttl = ttl
        self.address = address
        self.holder = secrets.token_hex(16)
        self._held: Held | None = None if database.shared else Held(0, float("inf"))
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        # Not of the pool that requests wait for.
        self._spare = database.backend.spare or database.engine
        if database.shared:
            database.fence = self.fence

    @property
    def held(self) -> bool:
        """Whether this process leads now."""
        held = self._held
        return held is not None and time.monotonic() < held.stop

    @property
    def lost(self) -> bool:
        """Whether it has led and could not renew: it must end."""
        return self._held is not None and not self.held

    def start(self, won: Callable[[], None]) -> None:
        """Try for the lease, in a thread, until it is this process's; ``won`` is then called once.

        The thread goes on to renew it.
        """
        if not self._database.shared:
            won()
            return
        self._thread = threading.Thread(
            target=self._run, args=(won,), name="lease", daemon=True
        )  # fmt: skip
        self._thread.start()

    def stop(self) -> None:
        """Give the lease back, so that another process need not wait for its end."""
        self._ending.set()
        if self._thread is None:
            return
        self._thread.join(self._ttl)
        held, self._held = self._held, None
        if held is None:
            return
        mine = (_LEADER.c.holder == self.holder) & (_LEADER.c.term == held.term)
        try:
            with self._spare.begin() as connection:
                connection.execute(update(_LEADER).where(mine).values(until=0.0))
        except SQLAlchemyError as error:
            log.warning("The lease could not be given back: %s", error)

    def fence(self, session: Session) -> None:
        """Raise LeaseLost unless this process leads, as the transaction sees it."""
        held = self._held
        term = session.scalar(select(_LEADER.c.term))
        if held is None or held.term != term or not self.held:
            raise LeaseLost("Another process leads now.")

    def leader(self, session: Session) -> str:
        """Return where the leader is reached; NoLeader when none is known to be there."""
        row = session.execute(select(_LEADER.c.address).where(_LEADER.c.until > _NOW)).first()
        if row is None or not row.address:
            raise NoLeader(
                "No process of the service leads just now.", hint="Try again in a few seconds."
            )
        return str(row.address)

    def _run(self, won: Callable[[], None]) -> None:
        while not self._ending.is_set():
            known = self._held
            began = time.monotonic()
            try:
                term = self._take() if known is None else self._renew(known.term)
            except (NablaError, SQLAlchemyError) as error:
                log.warning("The database does not say who leads: %s", error)
                term = None
            if term is not None:
                self._held = Held(term, began + self._ttl - MARGIN * self._ttl / TTL)
                if known is None:
                    log.info("This process leads, in term %d", term)
                    won()
            elif self.lost:
                return
            self._ending.wait((RENEW if self._held else LOOK) * self._ttl / TTL)

    def _renew(self, term: int) -> int | None:
        mine = (_LEADER.c.holder == self.holder) & (_LEADER.c.term == term)
        with self._spare.begin() as connection:
            done = connection.execute(update(_LEADER).where(mine).values(until=_NOW + self._ttl))
        return term if done.rowcount else None

    def _take(self) -> int | None:
        """Take the lease if it has run out."""
        free = select(_LEADER.c.until <= _NOW)
        with self._spare.connect() as connection:
            if connection.scalar(free) is False:
                return None

        def take(session: Session) -> int | None:
            if session.scalar(select(_LEADER.c.id)) is None:
                session.execute(
                    insert(_LEADER).values(id=_ONLY, term=0, holder="", address="", until=0.0)
                )
            fields = {
                "term": _LEADER.c.term + 1, "holder": self.holder, "address": self.address,
                "until": _NOW + self._ttl,
            }  # fmt: skip
            changed = update(_LEADER).where(_LEADER.c.until <= _NOW).values(fields)
            term: int | None = session.scalar(changed.returning(_LEADER.c.term))
            return term

        return self._database.write_sync(take)
