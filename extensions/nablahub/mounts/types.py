"""Wire types of mounts and of the cache."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nablahub.core.paging import PageQuery
from nablahub.core.wire import LARGEST, Body, Resource, Timestamp

MountState = Literal["Pending", "Ready", "Failed"]
#: What servers read: a folder of the service's own machine, or a claim of the cluster.
CacheKind = Literal["folder", "claim"]
ServerName = Annotated[
    str,
    Field(
        max_length=255,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="Of a named server; empty: the default one",
    ),
]
#: A folder's name that no hidden file has.
MountName = Annotated[
    str,
    Field(
        pattern=r"^[^/\x00-\x1f\x7f.@][^/\x00-\x1f\x7f]*$",
        max_length=200,
        description="Below `/datasets`; default: the dataset's name, and `@…` where the "
        "reference has a version or a tag",
    ),
]


class Mount(Resource):
    """A version that a single-user server shows, read-only."""

    id: str
    server: str
    name: str
    path: str = Field(description="Where the server shows it, such as `/datasets/digits`")
    version: str = Field(description="Id of the version")
    dataset_id: str
    dataset_name: str
    files: int
    bytes: int
    place: str = Field(description="Where its tree lies in the cache: `<team>/<name>`")
    state: MountState
    message: str = Field(description="Why it failed")
    created_at: Timestamp
    used_at: Timestamp


class MountCreate(Body):
    """What mounts a version, or lets a name stand for another one."""

    dataset: str = Field(max_length=400, description="`<id or name>[:<version, tag or latest>]`")
    server: ServerName = ""
    name: MountName | None = None
    replace: bool = Field(
        default=False, description="Also when the name stands for another dataset's version"
    )
    cache: CacheKind | None = Field(
        default=None, description="What the server reads; default: what jobs read"
    )
    fill: bool = Field(
        default=True,
        description="Bring the version into the cluster's claim; false: the caller sees it there",
    )


class MountQuery(PageQuery):
    """Filters of the list."""

    server: ServerName | None = Field(default=None, description="Only of this server")


class CachedTree(Resource):
    """A materialised version."""

    place: str = Field(description="`<team>/<dataset or model>-<version>`")
    bytes: int = Field(description="On the disk, without what it shares with the store")
    used_at: Timestamp
    users: list[str] = Field(description="Who reads it; such a tree is never taken away")


class CacheList(Resource):
    """The trees of the cache, what was not used for the longest time first."""

    items: list[CachedTree]
    next: str | None = None
    bytes: int
    limit: int | None = Field(description="`dataset_cache_size` in bytes; null: none")


class PruneQuery(Body):
    """How far the cache is emptied."""

    to: int | None = Field(
        default=None, ge=0, le=LARGEST, description="Bytes that may stay; default: the setting"
    )
    dry_run: bool = Field(default=False, description="Only tell what would go")


class Pruned(Resource):
    """What was taken out of the cache."""

    items: list[CachedTree]
    next: str | None = None
    bytes: int = Field(description="What they took")
    left: int = Field(description="What the rest takes")
    limit: int | None
    dry_run: bool


class VerifyQuery(Body):
    """What is done about damage."""

    repair: bool = Field(default=False, description="Make damaged trees that nobody reads again")


class CheckedTree(Resource):
    """What was found in one tree."""

    place: str
    files: int
    damaged: list[str] = Field(description="Files that are missing, changed or too many")
    count: int = Field(description="How many of them there are")
    users: list[str]
    repaired: bool


class UsersAsk(Body):
    """Which trees of a cluster's cache are about to be taken away."""

    places: list[Annotated[str, Field(max_length=255)]] = Field(max_length=1000)


class InUse(Resource):
    """Those of them that somebody reads, and those that nobody may read any more."""

    items: list[str]
    withdrawn: list[str] = Field(
        default=[], description="Of datasets that are not public any more; they go, read or not"
    )
    next: str | None = None
