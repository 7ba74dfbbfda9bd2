"""Wire types of the catalog."""

from __future__ import annotations

from pydantic import Field

from nablahub.core.names import Name
from nablahub.core.wire import Body, Resource


class CatalogSource(Resource):
    """A file of an entry."""

    path: str = Field(description="In the dataset, or the archive's own name")
    url: str | None = Field(description="Where it is fetched; null: it ships with the hub")
    sha256: str
    unpack: bool


class CatalogEntry(Resource):
    """A public dataset that may be added."""

    name: str
    title: str
    description: str
    licence: str
    source: str = Field(description="The page that tells of it")
    checked_by: str = Field(description="Who states the checksums; empty: the hub")
    offline: bool = Field(description="Whether it needs no network")
    files: list[CatalogSource]


class CatalogList(Resource):
    """The catalog."""

    items: list[CatalogEntry]
    next: str | None = None
    warning: str | None = Field(
        default=None, description="For administrators: why the file is not in force"
    )


class CatalogAdd(Body):
    """How an entry becomes a dataset."""

    name: Name | None = Field(default=None, description="Of the dataset; default: the entry's")
    project: str | None = Field(default=None, description="Id of the project it is shown in")
    team: str | None = Field(default=None, description="Id or name; default: as for any dataset")
