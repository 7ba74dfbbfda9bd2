"""Table of teams."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import Select, String, UniqueConstraint, select, tuple_
from sqlalchemy.orm import Mapped, Session, mapped_column

from nablahub.core.database import Base
from nablahub.core.times import Moment


class TeamRow(Base):
    """A team; membership of groups is the hub's, so it is not kept here."""

    __tablename__ = "teams"
    __table_args__ = (UniqueConstraint("kind", "name"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(Moment)


def by_names(session: Session, wanted: Iterable[tuple[str, str]]) -> Sequence[TeamRow]:
    """Return the teams with these (kind, name)."""
    pairs = list(wanted)
    return session.scalars(
        select(TeamRow).where(tuple_(TeamRow.kind, TeamRow.name).in_(pairs))
    ).all()


def among(ids: Iterable[str]) -> Select[TeamRow]:
    """Select the teams with these ids."""
    return select(TeamRow).where(TeamRow.id.in_(sorted(ids)))
