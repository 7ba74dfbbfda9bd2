"""Wire types of what folders take."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import Field

from nablahub.core.usage import FolderUsage, Level
from nablahub.core.wire import LARGEST, Body, Resource, Timestamp


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
    """All that concerns the caller; on a cluster, as a server of theirs told it last."""

    items: list[DiskUsage]
    next: str | None = None


class UsageReport(Body):
    """What somebody who sees a claim of a cluster found in it."""

    kind: Literal["storage", "home"]
    team: str | None = Field(default=None, description="Of a `storage`; your own by default")
    bytes: int = Field(ge=0, le=LARGEST, description="On the disk")
    files: int = Field(ge=0, le=LARGEST)
    quota_bytes: int | None = Field(
        default=None, ge=0, le=LARGEST, description="Size of the claim; None: it has none"
    )
    largest: list[Large] = Field(default=[], max_length=100)


def disk_usage(
    kind: Literal["storage", "home"],
    name: str,
    found: FolderUsage,
    team_id: str | None = None,
    *,
    is_claim: bool = False,
) -> DiskUsage:
    """Return as the API shows it what was measured.

    Parameters
    ----------
    is_claim : bool
        Whether it is a cluster's, which is nearly full at most: the cluster itself keeps its size.
    """
    level: Level = "warning" if is_claim and found.level == "over" else found.level
    return DiskUsage(
        kind=kind, name=name, team_id=team_id, bytes=found.bytes, files=found.files,
        quota_bytes=found.quota or None, level=level,
        measured_at=datetime.fromtimestamp(found.at, UTC) if found.at else None,
        largest=[Large(path=path, bytes=size) for path, size in found.largest],
    )  # fmt: skip
