"""Wire types of what folders take."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import Field

from nablahub.core.usage import FolderUsage, Level
from nablahub.core.wire import Resource, Timestamp


class Large(Resource):
    """A folder, whose path ends in `/`, or a file."""

    path: str
    bytes: int


class DiskUsage(Resource):
    """What a team's `/storage` or a user's home takes."""

    kind: Literal["storage", "home"]
    name: str = Field(description="Of the team, or the user")
    team_id: str | None = Field(description="Of a team's")
    bytes: int = Field(description="On the disk")
    files: int
    quota_bytes: int | None = Field(description="None: no limit")
    level: Level = Field(description="`warning` from 80 percent of the quota on")
    measured_at: Timestamp | None = Field(description="None: not yet")
    largest: list[Large]


class DiskUsages(Resource):
    """All that concerns the caller; empty on a cluster, where claims have sizes of their own."""

    items: list[DiskUsage]
    next: str | None = None


def disk_usage(
    kind: Literal["storage", "home"], name: str, found: FolderUsage, team_id: str | None = None
) -> DiskUsage:
    """Return as the API shows it what was measured."""
    return DiskUsage(
        kind=kind, name=name, team_id=team_id, bytes=found.bytes, files=found.files,
        quota_bytes=found.quota or None, level=found.level,
        measured_at=datetime.fromtimestamp(found.at, UTC) if found.at else None,
        largest=[Large(path=path, bytes=size) for path, size in found.largest],
    )  # fmt: skip
