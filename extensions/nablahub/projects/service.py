"""Rules of projects."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from nablahub.core.context import Context
from nablahub.core.errors import Forbidden, NotFound
from nablahub.core.events import Event
from nablahub.core.ids import new_id
from nablahub.core.paging import page
from nablahub.core.permissions import Principal
from nablahub.core.times import now
from nablahub.projects.errors import ProjectNameTaken, ProjectNotEmpty
from nablahub.projects.store import ProjectRow, of_teams
from nablahub.projects.types import Project, ProjectCreate, ProjectPatch, ProjectQuery
from nablahub.teams.service import TeamService


@runtime_checkable
class HoldsProjects(Protocol):
    """A service whose things belong to projects."""

    def project_holds(self, session: Session, project_id: str) -> str | None:
        """Return what of it the project still holds, such as ``"2 datasets"``, or None."""


def held(
    session: Session,
    column: InstrumentedAttribute[str] | InstrumentedAttribute[str | None],
    project_id: str,
    what: str,
) -> str | None:
    """Return how many things a project holds, such as ``"2 datasets"``, or None.

    Parameters
    ----------
    column
        Where the things' table names their project.
    what : str
        What one of them is called.
    """
    count = session.execute(select(func.count()).where(column == project_id)).scalar_one()
    return f"{count} {what}{'s' if count > 1 else ''}" if count else None


class ProjectService:
    """Projects of teams."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def create(self, session: Session, who: Principal, asked: ProjectCreate) -> Project:
        """Make a project; ProjectNameTaken when its team has one of that name.

        Forbidden when a run asks, which would never see it.
        """
        if who.project_id is not None:
            raise Forbidden(
                "A run belongs to its project and can't make another one.",
                hint="Make it yourself, and start a run in it.",
            )
        team_id = self._context.get(TeamService).pick(session, who, asked.team)
        self._check_free(session, team_id, asked.name)
        at = now()
        row = ProjectRow(
            id=new_id("project"), team_id=team_id, name=asked.name, description=asked.description,
            created_by=who.name, created_at=at, updated_at=at, revision=1,
        )  # fmt: skip
        session.add(row)
        self._tell(session, row, "created")
        return as_wire(row)

    def row(self, session: Session, who: Principal, project_id: str) -> ProjectRow:
        """Return the row; NotFound unless it is there and the caller's.

        This is how other slices check that a project may be used.
        """
        row = session.get(ProjectRow, project_id)
        if row is None:
            raise NotFound(
                f"Project {project_id} was not found.", hint="`nablahub projects list` shows yours."
            )
        who.check_team(row.team_id, f"Project {project_id}")
        who.check_project(row.id, f"Project {project_id}")
        return row

    def get(self, session: Session, who: Principal, project_id: str) -> Project:
        """Return one project."""
        return as_wire(self.row(session, who, project_id))

    def list(
        self, session: Session, who: Principal, asked: ProjectQuery
    ) -> tuple[list[Project], str | None]:
        """Return a page of the caller's projects."""
        query = of_teams(who.team_ids, asked.name)
        if who.project_id is not None:
            query = query.where(ProjectRow.id == who.project_id)
        columns = {
            "created_at": ProjectRow.created_at, "updated_at": ProjectRow.updated_at,
            "name": ProjectRow.name,
        }  # fmt: skip
        rows, following = page(session, query, asked, columns=columns, key=ProjectRow.id)
        return [as_wire(row) for row in rows], following

    def change(self, session: Session, row: ProjectRow, asked: ProjectPatch) -> Project:
        """Change name or description."""
        if asked.name is not None and asked.name != row.name:
            self._check_free(session, row.team_id, asked.name)
            row.name = asked.name
        if asked.description is not None:
            row.description = asked.description
        row.updated_at = now()
        row.revision += 1
        self._tell(session, row, "changed")
        return as_wire(row)

    def delete(self, session: Session, row: ProjectRow) -> None:
        """Delete an empty project; ProjectNotEmpty says what it still holds."""
        held = [
            what
            for service in self._context.services
            if isinstance(service, HoldsProjects)
            and (what := service.project_holds(session, row.id)) is not None
        ]
        if held:
            raise ProjectNotEmpty(row.name, held)
        self._tell(session, row, "deleted")
        session.delete(row)

    def _check_free(self, session: Session, team_id: str, name: str) -> None:
        if session.scalars(select(ProjectRow.id).filter_by(team_id=team_id, name=name)).first():
            raise ProjectNameTaken(name)

    def _tell(self, session: Session, row: ProjectRow, type_: str) -> None:
        event = Event("project", row.id, type_, row.team_id, row.id, {"name": row.name})
        self._context.events.emit(session, event)


def as_wire(row: ProjectRow) -> Project:
    """Return the row as clients see it."""
    return Project.model_validate(row, from_attributes=True)
