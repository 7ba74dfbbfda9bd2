"""Wire types of the service itself."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from nablahub.core.wire import LARGEST, Resource


class WhoAmI(Resource):
    """Whom the token stands for."""

    name: str
    kind: str
    admin: bool
    scopes: list[str]
    team_ids: list[str]


class Health(Resource):
    """The service answers."""

    status: str
    version: str


class EventQuery(BaseModel):
    """Which events to hear of."""

    model_config = ConfigDict(extra="forbid")

    project: str | None = Field(default=None, description="Only those of this project")
    after: int | None = Field(
        default=None,
        ge=0,
        le=LARGEST,
        description="Like Last-Event-ID, for clients that cannot set headers",
    )
