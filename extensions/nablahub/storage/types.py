"""Wire types of storage providers."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, SecretStr

from nablahub.core.names import Name
from nablahub.core.paging import PageQuery
from nablahub.core.storesettings import Endpoint
from nablahub.core.wire import Body, Resource, Revision, Timestamp

Bucket = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
Prefix = Annotated[
    str,
    # No part of dots alone, which some stores take for folders.
    Field(
        pattern=r"^([\w.-]*[\w-][\w.-]*(/[\w.-]*[\w-][\w.-]*)*)?$",
        max_length=200,
        description="Folder in it",
    ),
]
Region = Annotated[str, Field(pattern=r"^[a-zA-Z0-9-]{1,64}$")]
AccessKey = Annotated[str, Field(min_length=1, max_length=255)]
SecretKey = Annotated[
    SecretStr, Field(min_length=1, max_length=2000, description="Kept encrypted, never shown")
]
Where: Final = "Where the hub reaches it, http(s)://host; empty: Amazon S3"
Public: Final = "Where clients reach it; empty: the same"
Direct: Final = "Clients send and get bytes straight, by signed URLs; false: through the hub"
#: What changes where the data is; not while datasets are there.
PLACE: Final = frozenset({"bucket", "prefix"})


class StorageProvider(Resource):
    """A bucket that a team's datasets may lie in. Its secret key is never part of it."""

    id: str
    team_id: str
    name: str
    type: Literal["s3"] = "s3"
    bucket: str
    prefix: str
    endpoint: str
    public_endpoint: str
    region: str
    path_style: bool
    direct: bool
    cors: bool = Field(description="Whether the hub's pages may use signed URLs of the bucket")
    access_key: str
    created_by: str
    created_at: Timestamp
    updated_at: Timestamp
    revision: Revision


class StorageProviderCreate(Body):
    """What makes a storage provider; it is tried out first."""

    name: Name
    type: Literal["s3"] = "s3"
    bucket: Bucket
    prefix: Prefix = ""
    endpoint: Endpoint = Field(default="", description=Where)
    public_endpoint: Endpoint = Field(default="", description=Public)
    region: Region = "us-east-1"
    path_style: bool = Field(default=True, description="http://host/bucket; false: bucket.host")
    direct: bool = Field(default=True, description=Direct)
    access_key: AccessKey
    secret_key: SecretKey
    team: str | None = Field(default=None, description="Id or name; default: your private team")


class StorageProviderPatch(Body):
    """What may be changed; whatever touches the connection is tried out first."""

    name: Name | None = None
    bucket: Bucket | None = None
    prefix: Prefix | None = None
    endpoint: Endpoint | None = None
    public_endpoint: Endpoint | None = None
    region: Region | None = None
    path_style: bool | None = None
    direct: bool | None = None
    access_key: AccessKey | None = None
    secret_key: SecretKey | None = None


class StorageProviderQuery(PageQuery):
    """Filters of the list."""

    name: str | None = Field(default=None, description="Exactly this name")


class StorageCheck(Resource):
    """Whether a provider works now."""

    ok: bool
    problem: str = Field(description="A sentence; empty when it works")
    hint: str = Field(description="What to do about it")
    cors: bool


class KeyRotation(Resource):
    """What came of new encryption keys."""

    secrets: int = Field(description="How many secrets were encrypted anew")
