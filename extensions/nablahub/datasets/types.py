"""Wire types of datasets."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from nablahub.core.names import Name
from nablahub.core.paging import PageQuery
from nablahub.core.wire import Body, Resource, Revision, Timestamp

Description = Annotated[str, Field(max_length=10_000, description="Markdown")]
Message = Annotated[str, Field(max_length=2_000, description="What is new in this version")]
Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class VersionSummary(Resource):
    """What a list of datasets shows of a version."""

    id: str = Field(description="ds…:…, the reference that never changes its meaning")
    version: str = Field(description="The part after the colon")
    ref: str = Field(description="The same as id")
    files: int
    bytes: int
    created_at: Timestamp


class Dataset(Resource):
    """A dataset."""

    id: str
    team_id: str
    project_id: str | None
    storage_provider_id: str | None = Field(
        default=None, description="Where its data lies; null: the hub's own store"
    )
    name: str
    description: str
    latest_version: VersionSummary | None
    created_by: str
    created_at: Timestamp
    updated_at: Timestamp
    revision: Revision


class DatasetCreate(Body):
    """What makes a dataset."""

    name: Name
    project: str | None = Field(default=None, description="Id of the project it is shown in")
    team: str | None = Field(
        default=None, description="Id or name; default: the project's, else your private team"
    )
    storage_provider: str | None = Field(
        default=None, description="Id or name of the one its data lies in; default: the hub's own"
    )
    description: Description = ""


class DatasetPatch(Body):
    """What may be changed of a dataset; its versions never change."""

    name: Name | None = None
    description: Description | None = None


class DatasetQuery(PageQuery):
    """Filters of the list."""

    project: str | None = Field(default=None, description="Only those of this project")
    name: str | None = Field(default=None, description="Exactly this name")
    ref: str | None = Field(default=None, description="Id or name, with or without a version")


class DatasetVersion(VersionSummary):
    """A version of a dataset: a whole tree, for ever the same."""

    dataset_id: str
    dataset_name: str
    number: int = Field(description="Counts from 1 within the dataset")
    message: str
    author: str
    source: str = Field(description="Where it came from: upload, run …, dvc")
    digest: str = Field(description="sha256 of the canonical manifest")
    dvc_md5: str = Field(description="DVC's name of the tree, without .dir")


class File(Resource):
    """A file of a version."""

    path: str
    size: int
    kind: Literal["file", "executable"]
    md5: Md5
    sha256: Sha256


class FileQuery(Body):
    """Which files of a version to list."""

    limit: int = Field(default=200, ge=1, le=5000, description="Items on a page")
    cursor: str | None = Field(default=None, description="`next` of the page before")
    prefix: str = Field(default="", description="Only paths that begin with this")


class ContentQuery(Body):
    """How to send a file."""

    download: bool = Field(default=False, description="As an attachment, to be saved")


class UploadCreate(Body):
    """What begins a new version."""

    message: Message = ""
    source: str = Field(default="upload", max_length=200)


class Upload(Resource):
    """A version that is being built; nobody sees its files before it is committed."""

    id: str = Field(description="What the version will be called once it is committed")
    dataset_id: str
    version: str
    message: str
    author: str
    created_at: Timestamp
    direct: bool = Field(
        default=False, description="Bytes go to the object store by signed URLs (`transfers`)"
    )


class ObjectName(Body):
    """What an object claims to be."""

    md5: Md5
    sha256: Sha256
    size: int = Field(ge=0, le=2**53)


class Missing(Body):
    """Objects that a client could send."""

    objects: list[ObjectName] = Field(max_length=20_000)


class MissingAnswer(Resource):
    """The md5s of those that have not arrived yet."""

    missing: list[str]


class PartQuery(Body):
    """Which piece of a large object comes."""

    sha256: Sha256
    size: int = Field(ge=0, le=2**53, description="Of the whole object, in bytes")
    offset: int = Field(default=0, ge=0, description="Where this piece begins")


class PartAnswer(Resource):
    """How much of a large object has arrived."""

    arrived: int
    complete: bool


class Transfer(Body):
    """An object that a client sends to the object store by itself."""

    kind: Literal["pack", "object"]
    name: str = Field(
        pattern=r"^([0-9a-f]{32}|[0-9a-f]{64})$", description="The name of a pack, or an md5"
    )
    sha256: str = Field(
        default="", pattern=r"^([0-9a-f]{64})?$", description="Of a large object's bytes"
    )
    size: int = Field(ge=1, le=2**43, description="In bytes")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.name) != (64 if self.kind == "pack" else 32):
            raise ValueError("A pack is named by 64 hexadecimal digits, an object by 32.")
        if (self.kind == "object") != bool(self.sha256):
            raise ValueError("An object has a sha256 of its own, a pack has none.")
        return self


class TransferPart(Resource):
    """A part that has not arrived: send these bytes to that URL by PUT."""

    number: int
    offset: int
    size: int
    url: str = Field(description="Signed; it works for an hour")


class TransferPlan(Resource):
    """What is to be sent of an object."""

    part_size: int
    arrived: int = Field(description="Bytes that need not be sent")
    parts: list[TransferPart]


class TransferState(Resource):
    """Whether an object counts now; else ask again, it is still being read."""

    complete: bool


class Source(Resource):
    """An object of the store from which bytes are got."""

    url: str = Field(description="Signed; it works for an hour; takes Range")
    size: int


class Location(Resource):
    """Where the bytes of an object of a dataset are."""

    md5: str
    source: int = Field(description="Number in `sources`, from 0")
    start: int
    size: int


class LocationsAnswer(Resource):
    """Where to get objects from."""

    direct: bool = Field(description="False: they are got from the hub only")
    sources: list[Source]
    objects: list[Location]


class Damage(Resource):
    """A file of a version whose stored bytes are wrong or gone."""

    path: str
    md5: Md5
    size: int
    problem: str = Field(description="A sentence")
    restored: bool = Field(description="Whether a good copy was found and put in its place")


class Verification(Resource):
    """What reading all bytes of a version has shown so far; the last line says `done`."""

    done: bool
    files: int = Field(description="Files that were read")
    bytes: int
    damaged: list[Damage] = Field(description="Since the line before")


class BatchRequest(Body):
    """Objects to be sent as one pack."""

    md5: list[Md5] = Field(min_length=1, max_length=20_000)


class DvcExport(Resource):
    """What makes a DVC repository use a version; the texts of two files."""

    remote: str
    url: str
    dvc_file: str = Field(description="Save it as NAME.dvc")
    config: str = Field(description="Goes into .dvc/config")
    header: str = Field(description="In which DVC sends the token")
