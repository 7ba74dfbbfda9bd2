"""What processes that do not lead ask the leader to look at."""

from __future__ import annotations

from typing import cast

from sqlalchemy import String, Table, delete, insert, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from nablahub.core.database import Base, ring
from nablahub.core.events import NUMBER


class WakeRow(Base):
    """One thing to look at; written with the change that made it necessary."""

    __tablename__ = "wakes"

    seq: Mapped[int] = mapped_column(NUMBER, primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(32))
    item: Mapped[str] = mapped_column(String(128))


_WAKES = cast("Table", WakeRow.__table__)


def ask(session: Session, kind: str, item_id: str) -> None:
    """Ask the leader to look at a thing once the session's transaction is committed."""
    session.execute(insert(_WAKES), {"kind": kind, "item": item_id})
    ring(session)


def waiting(session: Session) -> bool:
    """Whether something was asked."""
    return session.scalar(select(_WAKES.c.seq).limit(1)) is not None


def take(session: Session) -> list[tuple[str, str]]:
    """Return what was asked, in its order, and forget it.

    What is forgotten here and not yet looked at when the leader dies is taken up by the next one
    with all else that is unfinished.
    """
    rows = session.execute(delete(_WAKES).returning(_WAKES.c.seq, _WAKES.c.kind, _WAKES.c.item))
    return list(dict.fromkeys((kind, item) for _, kind, item in sorted(rows.all())))
