"""Wire types of projects."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from nablahub.core.names import Name
from nablahub.core.paging import PageQuery
from nablahub.core.wire import Body, Resource, Revision, Timestamp

Description = Annotated[str, Field(max_length=10_000, description="Markdown")]


class Project(Resource):
    """A project."""

    id: str
    team_id: str
    name: str
    description: str
    created_by: str
    created_at: Timestamp
    updated_at: Timestamp
    revision: Revision


class ProjectCreate(Body):
    """What makes a project."""

    name: Name
    description: Description = ""
    team: str | None = Field(default=None, description="Id or name; default: your private team")


class ProjectPatch(Body):
    """What may be changed of a project."""

    name: Name | None = None
    description: Description | None = None


class ProjectQuery(PageQuery):
    """Filters of the list."""

    name: str | None = Field(default=None, description="Exactly this name")
