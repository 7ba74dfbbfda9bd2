"""What changed, told after the commit to whoever listens; kept so that a listener can resume."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    CursorResult,
    Integer,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from nablahub.core.database import Base, Database, after_commit, ring
from nablahub.core.times import Moment, now

QUEUE_LIMIT = 10_000
#: A number that SQLite gives by itself only to a column that is called INTEGER.
NUMBER = BigInteger().with_variant(Integer, "sqlite")


class EventRow(Base):
    """An event as it is kept."""

    __tablename__ = "events"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - as SQLAlchemy wants it

    seq: Mapped[int] = mapped_column(NUMBER, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(Moment)
    team_id: Mapped[str] = mapped_column(String(32), index=True)
    project_id: Mapped[str | None] = mapped_column(String(32), index=True)
    kind: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str] = mapped_column(String(128))
    type: Mapped[str] = mapped_column(String(32))
    data: Mapped[str] = mapped_column(Text, default="{}")


_INSERT = insert(cast("Table", EventRow.__table__))


@dataclass(frozen=True)
class Event:
    """A change of one thing.

    Parameters
    ----------
    kind : str
        The noun: ``project``, ``run``, ``job``, ``dataset``, ``model``, ``deployment``.
    id : str
        The thing's id.
    type : str
        ``created``, ``changed`` or ``deleted``.
    team_id : str
        Whose it is: only that team hears of it.
    project_id : str or None
        The project it belongs to.
    data : dict
        What a list shows of it (state, name), so that a listener need not ask again.
    """

    kind: str
    id: str
    type: str
    team_id: str
    project_id: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    seq: int = 0
    at: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what a listener receives."""
        return {
            "kind": self.kind,
            "id": self.id,
            "type": self.type,
            "project": self.project_id,
            "at": self.at.isoformat().replace("+00:00", "Z") if self.at else None,
            "data": self.data,
        }


class EventBus:
    """Hands committed events to the listeners of this process.

    Where other processes write to the same database, all events are read from there, in their
    order (:meth:`look`).
    """

    def __init__(self, database: Database, *, keep: int = 100_000) -> None:
        self._database = database
        self._keep = keep
        self._listeners: set[asyncio.Queue[Event | None]] = set()
        self._told: int | None = None

    def emit(self, session: Session, event: Event) -> None:
        """Store the event in the session's transaction and tell it after the commit."""
        session.flush()
        at = now()
        fields = {
            "at": at, "team_id": event.team_id, "project_id": event.project_id,
            "kind": event.kind, "subject": event.id, "type": event.type,
            "data": json.dumps(event.data, default=str),
        }  # fmt: skip
        # Not by the unit of work: every change of anything comes by here.
        done = cast("CursorResult[Any]", session.execute(_INSERT, fields))
        seq = int(done.inserted_primary_key[0])  # type: ignore[index]  # one row was inserted
        if seq % 1000 == 0:
            session.execute(delete(EventRow).where(EventRow.seq <= seq - self._keep))
        if self._database.shared:
            ring(session)
        else:
            after_commit(session, lambda: self._tell(replace(event, seq=seq, at=at)))

    async def look(self) -> None:
        """Tell what was committed since the last look, by whatever process."""
        if self._told is None:
            self._told = await self.last_seq()
            return
        after = self._told
        for event in await self._database.read(lambda s: _since(s, after)):
            self._tell(event)
            self._told = event.seq

    def _tell(self, event: Event) -> None:
        for queue in list(self._listeners):
            if queue.qsize() < QUEUE_LIMIT:
                queue.put_nowait(event)
            else:  # A listener that does not read is cut off; it resumes by its last id.
                self._listeners.discard(queue)
                queue.put_nowait(None)

    async def listen(self, after: int | None = None) -> AsyncIterator[Event]:
        """Yield events as they are committed, first those after ``after``.

        Parameters
        ----------
        after : int or None
            Sequence number of the last event the listener saw; None: only new ones.
        """
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            last = after if after is not None else 0
            if after is not None:
                for event in await self._database.read(lambda s: _since(s, after)):
                    last = event.seq
                    yield event
            while (item := await queue.get()) is not None:
                if item.seq > last:
                    yield item
        finally:
            self._listeners.discard(queue)

    async def last_seq(self) -> int:
        """Return the sequence number of the newest event, 0 when there is none."""
        return await self._database.read(
            lambda s: s.execute(select(func.max(EventRow.seq))).scalar() or 0
        )

    def close(self) -> None:
        """End every listener."""
        for queue in self._listeners:
            queue.put_nowait(None)
        self._listeners.clear()


def _since(session: Session, after: int) -> list[Event]:
    rows = session.scalars(select(EventRow).where(EventRow.seq > after).order_by(EventRow.seq))
    return [_from_row(row) for row in rows]


def _from_row(row: EventRow) -> Event:
    return Event(
        kind=row.kind, id=row.subject, type=row.type, team_id=row.team_id,
        project_id=row.project_id, data=json.loads(row.data), seq=row.seq,
        at=row.at.astimezone(UTC),
    )  # fmt: skip
