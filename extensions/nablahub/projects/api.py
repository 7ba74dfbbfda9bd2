"""Projects over the REST API."""

from __future__ import annotations

from collections.abc import Iterator

from nablahub.core.errors import NotFound
from nablahub.core.transport import Transport
from nablahub.projects.errors import ProjectNameTaken
from nablahub.projects.types import Project


class ProjectsAPI:
    """Projects, as a client sees them."""

    def __init__(self, transport: Transport) -> None:
        self._hub = transport

    def list(self) -> Iterator[Project]:
        """Yield your projects, newest first."""
        return map(Project.model_validate, self._hub.pages("/projects"))

    def get(self, ref: str) -> Project:
        """Return a project by its id or name; NotFound when you have none such."""
        for item in self._hub.pages("/projects", name=ref):
            return Project.model_validate(item)
        if "/" in ref or not ref:
            raise NotFound(f"Project {ref!r} was not found.", hint="Give its id or name.")
        return Project.model_validate(self._hub.get(f"/projects/{ref}"))

    def create(self, name: str, *, description: str = "", team: str | None = None) -> Project:
        """Create a project; ProjectNameTaken when there is one of that name."""
        body = {"name": name, "description": description, "team": team}
        return Project.model_validate(self._hub.post("/projects", body))

    def ensure(self, name: str, *, description: str = "") -> Project:
        """Return the project of that name, making it when there is none."""
        try:
            return self.create(name, description=description)
        except ProjectNameTaken:
            return self.get(name)

    def change(self, project: Project, **fields: str) -> Project:
        """Change fields of the revision that was read."""
        path = f"/projects/{project.id}"
        return Project.model_validate(self._hub.patch(path, fields, revision=project.revision))

    def delete(self, project_id: str) -> None:
        """Delete an empty project."""
        self._hub.delete(f"/projects/{project_id}")
