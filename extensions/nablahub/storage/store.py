"""Tables of storage providers, and of what is in a cluster's claims."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import (
    Boolean,
    ForeignKey,
    Integer,
    Select,
    String,
    Text,
    UniqueConstraint,
    select,
)
from sqlalchemy.orm import Mapped, mapped_column

from nablahub.core.database import Base
from nablahub.core.times import Moment


class StorageProviderRow(Base):
    """A storage provider; ``secret`` is its secret key, encrypted."""

    __tablename__ = "storage_providers"
    __table_args__ = (UniqueConstraint("team_id", "name"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"))
    name: Mapped[str] = mapped_column(String(255))
    url: Mapped[str] = mapped_column(Text)
    endpoint: Mapped[str] = mapped_column(Text)
    public_endpoint: Mapped[str] = mapped_column(Text)
    region: Mapped[str] = mapped_column(String(64))
    path_style: Mapped[bool] = mapped_column(Boolean)
    direct: Mapped[bool] = mapped_column(Boolean)
    cors: Mapped[bool] = mapped_column(Boolean)
    access_key: Mapped[str] = mapped_column(String(255))
    secret: Mapped[str] = mapped_column(Text)
    created_by: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)
    revision: Mapped[int] = mapped_column(Integer)


class StorageUsageRow(Base):
    """What was told last of a claim, as JSON; ``owner`` is a team's id or a user's name."""

    __tablename__ = "storage_usage"

    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    owner: Mapped[str] = mapped_column(String(255), primary_key=True)
    found: Mapped[str] = mapped_column(Text)


def of_teams(team_ids: Iterable[str], name: str | None = None) -> Select[StorageProviderRow]:
    """Select the providers of these teams, or only those of a name."""
    query = select(StorageProviderRow).where(StorageProviderRow.team_id.in_(sorted(team_ids)))
    return query if name is None else query.where(StorageProviderRow.name == name)
