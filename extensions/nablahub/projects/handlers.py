"""Operations on projects."""

from __future__ import annotations

from nablahub.core.operations import Call, operation
from nablahub.core.paging import Page
from nablahub.projects.service import ProjectService
from nablahub.projects.types import Project, ProjectCreate, ProjectPatch, ProjectQuery


@operation("GET", "/projects", scope="projects:read", query=ProjectQuery)
def list_projects(call: Call) -> Page[Project]:
    """List the projects of your teams."""
    items, following = call.get(ProjectService).list(call.session, call.who, call.query)
    return Page(items=items, next=following)


@operation("POST", "/projects", scope="projects:write", status=201)
def create_project(call: Call, body: ProjectCreate) -> Project:
    """Create a project."""
    return call.get(ProjectService).create(call.session, call.who, body)


@operation("GET", "/projects/{project}", scope="projects:read")
def get_project(call: Call) -> Project:
    """Get a project."""
    return call.get(ProjectService).get(call.session, call.who, call.path["project"])


@operation("PATCH", "/projects/{project}", scope="projects:write")
def change_project(call: Call, body: ProjectPatch) -> Project:
    """Change a project's name or description."""
    service = call.get(ProjectService)
    row = service.row(call.session, call.who, call.path["project"])
    call.check_etag(row.revision)
    return service.change(call.session, row, body)


@operation("DELETE", "/projects/{project}", scope="projects:write")
def delete_project(call: Call) -> None:
    """Delete an empty project."""
    service = call.get(ProjectService)
    service.delete(call.session, service.row(call.session, call.who, call.path["project"]))
