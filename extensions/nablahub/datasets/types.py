"""Wire types of datasets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

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
    public: bool = Field(default=False, description="Everybody may read it, as `team/name`")
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
    public: bool | None = Field(default=None, description="Whether everybody may read it")


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
    damaged: bool = Field(
        default=False,
        description="Whether stored bytes of the dataset are known to be damaged; only told of "
        "a version by itself. Putting the same files again restores them",
    )
    dvc_md5: str | None = Field(
        description="DVC's name of the tree, without .dir; null until it has been derived"
    )


class Tag(Resource):
    """A tag of a dataset."""

    name: str
    version: str = Field(description="The 7 characters of the version it stands for")
    ref: str = Field(description="ds…:…, the version's own reference")
    set_by: str
    set_at: Timestamp


class TagPut(Body):
    """Where a tag shall stand."""

    version: str = Field(description="7 characters, another tag, or `latest`")
    expected: str | None = Field(
        default=None,
        description="The 7 characters that it must stand for now (empty: that it must not exist); "
        "left out, it is moved from wherever it is",
    )


class File(Resource):
    """A file of a version."""

    path: str
    size: int
    kind: Literal["file", "executable"]
    md5: Md5
    sha256: Sha256
    type: str = Field(
        default="application/octet-stream", description="Media type, told by the end of its name"
    )


class Node(Resource):
    """A file or folder in a folder of a version."""

    path: str = Field(description="From the version's own folder on")
    kind: Literal["file", "executable", "folder"]
    size: int | None = Field(default=None, description="In bytes; null for a folder")
    md5: Md5 | None = None
    sha256: Sha256 | None = None
    type: str | None = Field(default=None, description="Media type; null for a folder")


class TreeQuery(Body):
    """Which folder of a version to list."""

    folder: str = Field(default="", description="Its path; empty: the version's own")
    limit: int = Field(default=200, ge=1, le=5000, description="Items on a page")
    cursor: str | None = Field(default=None, description="`next` of the page before")


class FileQuery(Body):
    """Which files of a version to list."""

    limit: int = Field(default=200, ge=1, le=5000, description="Items on a page")
    cursor: str | None = Field(default=None, description="`next` of the page before")
    prefix: str = Field(default="", description="Only paths that begin with this")
    contains: str = Field(
        default="", max_length=200,
        description="Only paths that hold this, in capitals or not; a page may then have few "
        "items or none and yet a `next`",
    )  # fmt: skip


class ContentQuery(Body):
    """How to send a file."""

    download: bool = Field(default=False, description="As an attachment, to be saved")


class UploadCreate(Body):
    """What begins a new version."""

    message: Message = ""
    source: str = Field(default="upload", max_length=200)
    inputs: list[str] = Field(
        default=[], max_length=100, description="Versions of datasets that it is made from"
    )


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
    base: str | None = Field(default=None, description="The version that it begins with")
    packs: int = Field(
        default=0, description="How many packs the dataset has: without any, all must be sent"
    )


class CommitQuery(Body):
    """What the text of a commit tells."""

    base: str | None = Field(
        default=None,
        description="A version: the text tells the differences from it, first `- <path>` for each "
        "file that goes, then the lines of those that are new or changed",
    )


class FilePut(Body):
    """How a file comes into a draft."""

    executable: bool = Field(default=False, description="Whether it may be run")


class FileWrite(FilePut):
    """How one file becomes part of a new version."""

    message: Message = ""
    source: str = Field(default="upload", max_length=200)


class Rename(Body):
    """A file of a draft and where it goes."""

    path: str = Field(alias="from", min_length=1, description="Its path now")
    to: str = Field(min_length=1, description="Its new path")


class Change(Resource):
    """A file that differs between two versions, or that a draft changes."""

    path: str
    change: Literal["added", "removed", "changed", "put"]
    size: int | None = Field(description="In bytes; null when it is gone")
    md5: str | None
    old_size: int | None = None
    old_md5: str | None = None


class DraftCommit(Body):
    """How a draft becomes a version."""

    rebase: bool = Field(
        default=True,
        description="Put the changes upon a later version than the one the draft began with",
    )


class DiffQuery(Body):
    """With what to compare a version."""

    to: str = Field(default="latest", description="7 characters, a tag or `latest`")
    limit: int = Field(default=1000, ge=1, le=5000, description="Items on a page")
    cursor: str | None = Field(default=None, description="`next` of the page before")


class Lineage(Resource):
    """Where a version came from, and what came of it."""

    source: str = Field(description="upload, run …, notebook …, import …")
    parent: str | None = Field(description="The version that was the latest before it")
    inputs: list[str] = Field(description="Versions of datasets that it was made from")
    children: list[str] = Field(description="Versions whose parent it is")
    outputs: list[str] = Field(description="Versions of datasets that were made from it")
    used_by: list[str] = Field(description="What else needs it, such as models")


class WastedFile(Resource):
    """A file that only deleted versions hold."""

    version: str
    path: str
    size: int


class Collection(Resource):
    """What a collection of garbage takes, or would take, away."""

    versions: list[str] = Field(description="The deleted versions")
    files: list[WastedFile] = Field(description="The first 10,000 of them")
    count: int = Field(description="How many files")
    bytes: int
    packs: int = Field(description="How many packs of small files go as a whole")
    until: Timestamp | None = Field(description="Until when it can be undone")


class CollectionDo(Body):
    """What to do about garbage."""

    undo: bool = Field(default=False, description="Keep what was to go")


class Damage(Resource):
    """A file of a version whose stored bytes are wrong or gone."""

    path: str
    md5: Md5
    size: int
    problem: str = Field(description="A sentence")
    restored: bool = Field(description="Whether a good copy was found and put in its place")


class Sharer(Resource):
    """Another version of which files have the same damaged bytes."""

    version: str
    dataset_name: str
    files: int = Field(description="How many of its files")
    paths: list[str] = Field(description="The first of them")


class Verification(Resource):
    """What reading all bytes of a version has shown so far; the last line says `done`."""

    done: bool
    files: int = Field(description="Files that were read")
    bytes: int
    damaged: list[Damage] = Field(description="Since the line before")
    sharing: list[Sharer] = Field(
        default=[],
        description="Other versions that need what was not restored, since the line before",
    )


class DvcExport(Resource):
    """What makes a DVC repository use a version; the texts of two files."""

    remote: str
    url: str
    dvc_file: str = Field(description="Save it as NAME.dvc")
    config: str = Field(description="Goes into .dvc/config")
    header: str = Field(description="In which DVC sends the token")
