"""Table of projects."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ForeignKey, Integer, Select, String, Text, UniqueConstraint, select
from sqlalchemy.orm import Mapped, mapped_column

from nablahub.core.database import Base
from nablahub.core.times import Moment


class ProjectRow(Base):
    """A project."""

    __tablename__ = "projects"
    __table_args__ = (UniqueConstraint("team_id", "name"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"))
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str] = mapped_column(Text)
    created_by: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)
    revision: Mapped[int] = mapped_column(Integer)


def of_teams(team_ids: Iterable[str], name: str | None = None) -> Select[ProjectRow]:
    """Select the projects of these teams, or only those of a name."""
    query = select(ProjectRow).where(ProjectRow.team_id.in_(sorted(team_ids)))
    return query if name is None else query.where(ProjectRow.name == name)
