"""Wire types of how the bytes of a dataset come and go."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from nablahub.core.wire import Body, Resource
from nablahub.datasets.types import Md5, Sha256


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


class BatchRequest(Body):
    """Objects to be sent as one pack."""

    md5: list[Md5] = Field(min_length=1, max_length=20_000)
