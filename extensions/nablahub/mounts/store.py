"""Table of mounts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Boolean, Select, String, Text, UniqueConstraint, func, select, true
from sqlalchemy.orm import Mapped, Session, mapped_column

from nablahub.core.database import Base
from nablahub.core.times import Moment, now

#: A server tells that it still has its mounts when it starts and each hour; one of which nothing
#: was heard for so long keeps no tree in the cache.
REMEMBERED: Final = timedelta(days=7)


class MountRow(Base):
    """What a server shows.

    Of a version ``place`` is that of its tree in a cache. Of a folder of a bucket it is where the
    server sees it, and ``version_id`` is empty.
    """

    __tablename__ = "mounts"
    __table_args__ = (UniqueConstraint("user_name", "server", "name"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_name: Mapped[str] = mapped_column(String(255))
    server: Mapped[str] = mapped_column(String(255))
    name: Mapped[str] = mapped_column(String(255))
    version_id: Mapped[str] = mapped_column(String(40), index=True)
    place: Mapped[str] = mapped_column(String(255))
    state: Mapped[str] = mapped_column(String(16))
    message: Mapped[str] = mapped_column(Text)
    #: The job that brings the version into the cluster's cache, while it runs.
    job_id: Mapped[str | None] = mapped_column(String(32))
    #: ``<id of the provider>/<folder>``; None: it is a version.
    bucket: Mapped[str | None] = mapped_column(Text)
    #: The same with the provider's name, for people.
    source: Mapped[str] = mapped_column(Text, server_default="")
    read_only: Mapped[bool] = mapped_column(Boolean, server_default=true())
    #: What was asked for besides: ``send``, ``unmount`` or ``discard``.
    todo: Mapped[str] = mapped_column(String(16), server_default="")
    #: What could not be written back when that was tried last, in sentences.
    unsent: Mapped[str] = mapped_column(Text, server_default="")
    created_at: Mapped[datetime] = mapped_column(Moment)
    used_at: Mapped[datetime] = mapped_column(Moment)

    @property
    def whose(self) -> str:
        """Whose server it is, for people."""
        return f"{self.user_name}'s server" + (f" '{self.server}'" if self.server else "")


def of_user(user: str, server: str | None = None) -> Select[MountRow]:
    """Select a user's mounts, or those of one server."""
    query = select(MountRow).where(MountRow.user_name == user)
    return query if server is None else query.where(MountRow.server == server)


def named(session: Session, user: str, server: str, name: str) -> MountRow | None:
    """Return what a server shows under a name."""
    return session.scalars(of_user(user, server).where(MountRow.name == name)).first()


def count(session: Session, user: str, server: str) -> int:
    """Return how many mounts a server has."""
    query = select(func.count()).select_from(of_user(user, server).subquery())
    return int(session.execute(query).scalar_one())


def alive() -> Select[MountRow]:
    """Select the mounts of versions that somebody may read."""
    recent = MountRow.used_at > now() - REMEMBERED
    return select(MountRow).where(recent, MountRow.bucket.is_(None))


def buckets() -> Select[MountRow]:
    """Select the mounts of buckets."""
    return select(MountRow).where(MountRow.bucket.is_not(None))
