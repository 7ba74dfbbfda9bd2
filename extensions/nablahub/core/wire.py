"""Base classes of what goes over the wire."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

#: Beyond it a number fits neither SQLite nor a file's offset.
LARGEST = 2**63 - 1


class Body(BaseModel):
    """What a client sends; a field that nobody knows is an error, not a silence."""

    model_config = ConfigDict(extra="forbid")


class Resource(BaseModel):
    """What a client gets; fields may be added by later releases."""

    model_config = ConfigDict(extra="ignore")


Timestamp = Annotated[AwareDatetime, Field(description="RFC 3339, UTC")]
Revision = Annotated[int, Field(description="Goes up with each change; the ETag", ge=1)]
