"""What a job's pod and the service say to each other about folders of buckets."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nablahub.core.wire import Body, Resource

#: As long as a key of an S3 may be, in bytes.
LONGEST_KEY = 1024
#: Signed URLs that are asked for at once.
MOST_LINKS = 500


class BucketQuery(Body):
    """Which part of what is in a bucket."""

    cursor: str | None = Field(default=None, description="`next` of the part before")


class BucketObject(Resource):
    """An object of a bucket."""

    path: str = Field(description="Below the folder that is mounted")
    size: int = Field(description="Bytes")
    etag: str = Field(description="Without quotes")


class BucketPage(Resource):
    """A part of what is in a folder of a bucket."""

    place: str = Field(description="The bucket and the folder, for people")
    items: list[BucketObject]
    next: str | None = Field(description="What to send as `cursor` for the next part")


class LinksQuery(Body):
    """For which objects signed URLs are wanted."""

    paths: list[str] = Field(max_length=MOST_LINKS)


class Links(Resource):
    """From where objects are got."""

    urls: list[str] = Field(description="In the order asked for; none: only the service has them")


class ReadQuery(Body):
    """Which bytes of an object, as it was listed."""

    path: str = Field(min_length=1, max_length=LONGEST_KEY)
    start: int = Field(ge=0)
    length: int = Field(ge=0, description="Bytes")
    etag: str = Field(max_length=200)


class WriteQuery(Body):
    """What an object shall be."""

    path: str = Field(min_length=1, max_length=LONGEST_KEY)
    size: int = Field(ge=0, description="Bytes of the body")
    etag: str = Field(max_length=200, description="The one that it gets, where that is an MD5")
    known: str | None = Field(
        default=None, max_length=200, description="Its ETag so far; without: there is none"
    )


class RemoveQuery(Body):
    """What object shall go."""

    path: str = Field(min_length=1, max_length=LONGEST_KEY)
    known: str = Field(max_length=200, description="Its ETag so far")


class WrittenObject(Resource):
    """What an object is now."""

    etag: str


class Report(Body):
    """How far a job's writable mounts are."""

    stage: Literal["ready", "over"] = Field(description="Before the command, or after it")
    words: str = Field(default="", max_length=16_384, description="What was not written back")
