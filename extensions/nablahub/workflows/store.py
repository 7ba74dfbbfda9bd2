"""Tables of workflows, their runs and the runs' jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    ForeignKey,
    Index,
    Integer,
    Select,
    String,
    Text,
    UniqueConstraint,
    select,
)
from sqlalchemy.orm import Mapped, Session, mapped_column, undefer

from nablahub.core.database import Base
from nablahub.core.times import Moment
from nablahub.workflows.types import ENDED


class WorkflowRow(Base):
    """A workflow."""

    __tablename__ = "workflows"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"))
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str] = mapped_column(String(255))
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
    source: Mapped[str | None] = mapped_column(Text, deferred=True)
    file_names: Mapped[list[str]] = mapped_column(JSON)
    files: Mapped[dict[str, str]] = mapped_column(JSON, deferred=True)
    last_number: Mapped[int] = mapped_column(Integer)
    created_by: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)
    revision: Mapped[int] = mapped_column(Integer)


class RunRow(Base):
    """A run of a workflow, with the spec and files it was started with."""

    __tablename__ = "workflow_runs"
    __table_args__ = (
        UniqueConstraint("workflow_id", "number"),
        Index("ix_workflow_runs_project_id_created_at", "project_id", "created_at"),
        Index("ix_workflow_runs_team_id_created_at_uuid", "team_id", "created_at", "uuid"),
    )

    uuid: Mapped[str] = mapped_column(String(36), primary_key=True)
    workflow_id: Mapped[str] = mapped_column(ForeignKey("workflows.id"))
    number: Mapped[int] = mapped_column(Integer)
    team_id: Mapped[str] = mapped_column(String(32))
    project_id: Mapped[str] = mapped_column(String(32))
    spec: Mapped[dict[str, Any]] = mapped_column(JSON, deferred=True)
    files: Mapped[dict[str, str]] = mapped_column(JSON, deferred=True)
    inputs: Mapped[dict[str, Any]] = mapped_column(JSON)
    bound: Mapped[dict[str, Any]] = mapped_column(JSON, deferred=True)
    outputs: Mapped[dict[str, Any]] = mapped_column(JSON)
    cancel_asked: Mapped[bool] = mapped_column(Boolean)
    state: Mapped[str] = mapped_column(String(16), index=True)
    reason: Mapped[str] = mapped_column(String(32))
    message: Mapped[str] = mapped_column(Text)
    created_by: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(Moment)
    started_at: Mapped[datetime | None] = mapped_column(Moment)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)

    @property
    def workspace(self) -> str | None:
        """Digest of the folder that its jobs begin in, if any."""
        found: str | None = self.bound.get("workspace", {}).get("digest")
        return found


class RunJobRow(Base):
    """A job of a run: what it waits for and what became of it."""

    __tablename__ = "workflow_run_jobs"

    run_uuid: Mapped[str] = mapped_column(ForeignKey("workflow_runs.uuid"), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    position: Mapped[int] = mapped_column(Integer)
    action: Mapped[str] = mapped_column(String(64))
    needs: Mapped[list[str]] = mapped_column(JSON)
    job_id: Mapped[str | None] = mapped_column(String(32))
    state: Mapped[str | None] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(String(32))
    message: Mapped[str] = mapped_column(Text)
    outputs: Mapped[dict[str, Any]] = mapped_column(JSON)
    notebook: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime | None] = mapped_column(Moment)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)


def workflows_of(
    team_ids: Iterable[str], project_id: str | None = None, name: str | None = None
) -> Select[WorkflowRow]:
    """Select the workflows of teams, of one project, of a name."""
    query = select(WorkflowRow).where(WorkflowRow.team_id.in_(sorted(team_ids)))
    if project_id is not None:
        query = query.where(WorkflowRow.project_id == project_id)
    return query if name is None else query.where(WorkflowRow.name == name)


def runs_of(
    team_ids: Iterable[str],
    *,
    project_id: str | None = None,
    workflow_id: str | None = None,
    state: str | None = None,
) -> Select[RunRow]:
    """Select the runs of a workflow, else of a project, else of teams; of these, in a state.

    Whoever may see a workflow or a project may see all its runs: asked for its team as well, SQLite
    would look through all of the team.
    """
    query = select(RunRow).options(undefer(RunRow.bound))
    if workflow_id is not None:
        query = query.where(RunRow.workflow_id == workflow_id)
    elif project_id is not None:
        query = query.where(RunRow.project_id == project_id)
    else:
        query = query.where(RunRow.team_id.in_(sorted(team_ids)))
    return query if state is None else query.where(RunRow.state == state)


def jobs_of(session: Session, uuids: Iterable[str]) -> dict[str, list[RunJobRow]]:
    """Return the jobs of runs, in the order of their specs."""
    wanted = list(uuids)
    found: dict[str, list[RunJobRow]] = {uuid: [] for uuid in wanted}
    query = select(RunJobRow).where(RunJobRow.run_uuid.in_(wanted)).order_by(RunJobRow.position)
    for row in session.scalars(query):
        found[row.run_uuid].append(row)
    return found


def latest_runs(session: Session, workflow_ids: Iterable[str]) -> dict[str, RunRow]:
    """Return the newest run of each workflow that has one."""
    query = (
        select(RunRow)
        .join(WorkflowRow, WorkflowRow.id == RunRow.workflow_id)
        .where(WorkflowRow.id.in_(list(workflow_ids)), RunRow.number == WorkflowRow.last_number)
    )
    return {row.workflow_id: row for row in session.scalars(query)}


def unfinished(session: Session) -> list[str]:
    """Return the uuids of runs that have not ended."""
    return list(session.scalars(select(RunRow.uuid).where(RunRow.state.not_in(sorted(ENDED)))))


def workspaces_needed(session: Session) -> Iterator[str]:
    """Yield the ids of the workspaces of runs that have not ended: other jobs may follow."""
    query = select(RunRow.bound).where(RunRow.state.not_in(sorted(ENDED)))
    for bound in session.scalars(query):
        if (found := bound.get("workspace")) is not None:
            yield found["id"]
