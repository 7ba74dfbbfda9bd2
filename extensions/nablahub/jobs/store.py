"""Tables of jobs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    ForeignKey,
    Index,
    Integer,
    Select,
    String,
    Text,
    delete,
    select,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from nablahub.core.database import Base
from nablahub.core.times import Moment
from nablahub.jobs.types import FINISHED, Json


class JobRow(Base):
    """A job: what is wanted of it, and what it came to."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_project_id_created_at", "project_id", "created_at"),
        Index("ix_jobs_team_id_created_at_id", "team_id", "created_at", "id"),
        Index("ix_jobs_owner_kind_owner_id", "owner_kind", "owner_id"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name_key: Mapped[str | None] = mapped_column(String(255), unique=True)
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"))
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    owner_kind: Mapped[str | None] = mapped_column(String(32))
    owner_id: Mapped[str | None] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(255))
    kind: Mapped[str] = mapped_column(String(16))
    #: The JobSpec, with every reference pinned to what it meant at submit.
    spec: Mapped[Json] = mapped_column(JSON)
    #: What somebody wants of it: "run", or "end" with the words for it.
    wanted: Mapped[str] = mapped_column(String(16))
    wanted_message: Mapped[str] = mapped_column(Text)
    #: What it is.
    state: Mapped[str] = mapped_column(String(16), index=True)
    reason: Mapped[str | None] = mapped_column(String(32))
    message: Mapped[str] = mapped_column(Text)
    #: The boot of the machine in which it was decided to start it; committed before it is started.
    boot: Mapped[str | None] = mapped_column(String(64))
    exit_code: Mapped[int | None] = mapped_column(Integer)
    ready: Mapped[bool] = mapped_column(Boolean)
    address: Mapped[str | None] = mapped_column(String(255))
    outputs: Mapped[Json] = mapped_column(JSON)
    created_by: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)
    started_at: Mapped[datetime | None] = mapped_column(Moment)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)
    #: The folder that it begins in, if one was given; see `WorkspaceRow`.
    workspace_id: Mapped[str | None] = mapped_column(String(32), index=True)
    revision: Mapped[int] = mapped_column(Integer)

    @property
    def finished(self) -> bool:
        """Whether its state will never change again."""
        return self.state in FINISHED


class WorkspaceRow(Base):
    """A folder that was packed for jobs; its object lies under its id, in the team's store."""

    __tablename__ = "job_workspaces"
    __table_args__ = (Index("ix_job_workspaces_team_id_digest", "team_id", "digest"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"))
    digest: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    #: Whether the object is there, whole.
    ready: Mapped[bool] = mapped_column(Boolean)
    created_at: Mapped[datetime] = mapped_column(Moment)
    used_at: Mapped[datetime] = mapped_column(Moment)


class RunTokenRow(Base):
    """The hash of a token that one job may use until its end."""

    __tablename__ = "run_tokens"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime] = mapped_column(Moment)


def of_project(project_id: str) -> Select[JobRow]:
    """Select the jobs of a project, which are all of the project's team."""
    return select(JobRow).where(JobRow.project_id == project_id)


def of_teams(team_ids: Iterable[str]) -> Select[JobRow]:
    """Select the jobs of these teams."""
    return select(JobRow).where(JobRow.team_id.in_(sorted(team_ids)))


def unfinished(session: Session) -> list[JobRow]:
    """Return the jobs that somebody must look after, the oldest first."""
    query = select(JobRow).where(JobRow.state.not_in(sorted(FINISHED)))
    return list(session.scalars(query.order_by(JobRow.created_at, JobRow.id)))


def forget(session: Session, job: JobRow) -> None:
    """Delete a job's row and its tokens."""
    session.execute(delete(RunTokenRow).where(RunTokenRow.job_id == job.id))
    session.delete(job)
    session.flush()


def by_key(session: Session, name_key: str) -> JobRow | None:
    """Return the job that was submitted under a key."""
    return session.scalars(select(JobRow).where(JobRow.name_key == name_key)).first()


def of_owner(session: Session, kind: str, owner_id: str) -> list[JobRow]:
    """Return the jobs of an owner, the oldest first."""
    query = select(JobRow).where(JobRow.owner_kind == kind, JobRow.owner_id == owner_id)
    return list(session.scalars(query.order_by(JobRow.created_at, JobRow.id)))
