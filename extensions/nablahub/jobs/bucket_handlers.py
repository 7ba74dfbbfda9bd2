"""Operations by which the pod of a job copies folders of buckets and brings back what changed.

Nobody else may use them; the job's command has no token that may.
"""

from __future__ import annotations

import asyncio
from typing import Final

from pydantic import BaseModel, ValidationError

from nablahub.core.errors import Malformed
from nablahub.core.objects import PART
from nablahub.core.operations import StreamCall, at_leader, stream
from nablahub.datasets.threads import blocking
from nablahub.jobs.bucket_types import (
    BucketObject,
    BucketPage,
    BucketQuery,
    Links,
    LinksQuery,
    ReadQuery,
    RemoveQuery,
    Report,
    WriteQuery,
    WrittenObject,
)
from nablahub.jobs.errors import NoSuchJob
from nablahub.jobs.pod_mounts import PodMounts
from nablahub.jobs.runners.feeding import feed
from nablahub.jobs.service import JobService
from nablahub.jobs.store import JobRow
from nablahub.jobs.task_handlers import own_task
from nablahub.storage.mounting.remote import Content
from nablahub.storage.mounting.s3_folder import S3Folder

#: Seconds in which a pod has taken a part.
_SLOWEST: Final = 60.0
_BUCKET: Final = "/jobs/{job}/task/buckets/{mount}"


@stream("GET", _BUCKET, scope="jobs:deliver", query=BucketQuery)
async def list_bucket(call: StreamCall) -> BucketPage:
    """List what is in a folder that a job mounts, to its own pod."""
    folder = await _folder(call)
    found, following = await blocking(folder.page, call.query.cursor)
    items = [BucketObject(path=each.path, size=each.size, etag=each.etag) for each in found]
    return BucketPage(place=folder.place, items=items, next=following)


@stream("POST", f"{_BUCKET}/links", scope="jobs:deliver", consumes="application/json")
async def find_bucket_links(call: StreamCall) -> Links:
    """Get signed URLs of objects, to the job's own pod; the body is `{"paths": [...]}`."""
    asked = _body(LinksQuery, await call.read())
    folder = await _folder(call, *asked.paths)
    return Links(urls=await blocking(folder.links, asked.paths))


@stream(
    "GET", f"{_BUCKET}/content", scope="jobs:deliver", query=ReadQuery,
    produces="application/octet-stream",
)  # fmt: skip
async def read_bucket(call: StreamCall) -> None:
    """Get bytes of an object, at most 8 MiB, to the job's own pod."""
    asked: ReadQuery = call.query
    folder = await _folder(call, asked.path)
    length = min(asked.length, PART)
    async with _pods(call).parts:
        data = await blocking(folder.read, asked.path, asked.start, length, asked.etag)
        # Whoever is gone without a word shall not keep others from their turn.
        async with asyncio.timeout(_SLOWEST):
            await call.write(data)


@at_leader
@stream(
    "PUT", f"{_BUCKET}/content", scope="jobs:deliver", query=WriteQuery,
    consumes="application/octet-stream",
)  # fmt: skip
async def write_bucket(call: StreamCall) -> WrittenObject:
    """Make an object be what a job left, from its own pod; refused when it is another by now."""
    asked: WriteQuery = call.query
    folder = await _folder(call, asked.path, write=True)
    pods, job = _pods(call), own_task(call)
    etag = await feed(
        pods.heard(job, call.chunks()),
        lambda body: folder.write(
            asked.path, Content(lambda: body, asked.size, asked.etag), asked.known
        ),
    )
    return WrittenObject(etag=etag)


@at_leader
@stream("DELETE", f"{_BUCKET}/content", scope="jobs:deliver", query=RemoveQuery, status=204)
async def remove_from_bucket(call: StreamCall) -> None:
    """Delete an object that a job deleted; refused when it is another by now."""
    asked: RemoveQuery = call.query
    folder = await _folder(call, asked.path, write=True)
    await blocking(folder.remove, asked.path, asked.known)


@at_leader
@stream(
    "PUT", "/jobs/{job}/task/buckets", scope="jobs:deliver", status=204,
    consumes="application/json",
)  # fmt: skip
async def report_buckets(call: StreamCall) -> None:
    """Take how far a job's writable mounts are, from its own pod."""
    report = _body(Report, await call.read())
    pods, row = _pods(call), await _row(call)
    await blocking(pods.note, row, report)


async def _folder(call: StreamCall, *paths: str, write: bool = False) -> S3Folder:
    pods, row = _pods(call), await _row(call)
    mount = call.path["mount"]
    return await blocking(lambda: pods.folder(row, mount, *paths, write=write))


async def _row(call: StreamCall) -> JobRow:
    job = own_task(call)
    return await call.db_read(lambda s: call.get(JobService).row(s, call.who, job))


def _pods(call: StreamCall) -> PodMounts:
    mounts = call.get(JobService).mounts
    if not isinstance(mounts, PodMounts):  # They are made on this machine.
        raise NoSuchJob(call.path["job"])
    own_task(call)
    return mounts


def _body[M: BaseModel](model: type[M], data: bytes) -> M:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise Malformed(f"The body is not what is wanted here: {error}") from error
