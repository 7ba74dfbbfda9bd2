"""Wire types of mounts and of the cache."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from nablahub.core.paging import PageQuery
from nablahub.core.wire import LARGEST, Body, Resource, Timestamp

MountState = Literal["Pending", "Ready", "Failed", "Stopped"]
#: What is being done to a mounted folder of a bucket, besides showing it.
Todo = Literal["", "send", "unmount", "discard"]
#: What a reference to a folder of a bucket begins with.
S3: Final = "s3:"
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
NAME: Final = r"^[^/\x00-\x1f\x7f.@][^/\x00-\x1f\x7f]*$"
LONGEST_NAME: Final = 200
#: A folder's name that no hidden file has.
MountName = Annotated[
    str,
    Field(
        pattern=NAME,
        max_length=LONGEST_NAME,
        description="Below `/datasets`; default: the dataset's name, and `@…` where the "
        "reference has a version or a tag; a bucket's last folder, or its provider's name",
    ),
]


class Mount(Resource):
    """What a single-user server shows: a version, read-only, or a folder of a bucket."""

    id: str
    server: str
    name: str
    path: str = Field(description="Where the server shows it, such as `/datasets/digits`")
    source: str = Field(
        description="What it is, for people: a version's id, or `s3:<provider>/<folder>`"
    )
    version: str = Field(description="Id of the version; empty for a bucket")
    dataset_id: str
    dataset_name: str
    files: int
    bytes: int
    bucket: str | None = Field(
        default=None, description="`<id of the provider>/<folder>`; null for a version"
    )
    read_only: bool = True
    place: str = Field(
        description="Of a version where its tree lies in the cache: `<team>/<name>`; of a bucket "
        "where the server sees it; empty while it is not known"
    )
    state: MountState = Field(
        description="`Stopped`: of a bucket, while its server does not run; it is there again with "
        "it"
    )
    todo: Todo = Field(default="", description="What is being done besides")
    message: str = Field(description="Why it failed, or how far it is")
    unsent: str = Field(
        default="",
        description="What could not be written to the bucket when that was tried last, in "
        "sentences; it is kept",
    )
    created_at: Timestamp
    used_at: Timestamp


class MountCreate(Body):
    """What mounts a version or a folder of a bucket, or lets a name stand for another version."""

    dataset: str | None = Field(
        default=None, max_length=400, description="`<id or name>[:<version, tag or latest>]`"
    )
    bucket: str | None = Field(
        default=None, max_length=1100, description="`<storage provider>/<folder>`"
    )
    read_only: bool = Field(default=True, description="Of a bucket; versions always are")
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

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if (self.dataset is None) == (self.bucket is None):
            raise ValueError("say either dataset or bucket")
        if self.dataset is not None and not self.read_only:
            raise ValueError("a version is always read-only")
        return self


class MountQuery(PageQuery):
    """Filters of the list."""

    server: ServerName | None = Field(default=None, description="Only of this server")


class MountDelete(Body):
    """How something is unmounted."""

    discard: bool = Field(
        default=False, description="Of a bucket: also when what was written there is lost by it"
    )


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
