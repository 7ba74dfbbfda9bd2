"""Operations on jobs, and on what they may run on."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
from collections.abc import Mapping
from itertools import islice

from nablahub.core.content import set_content_headers, take_range
from nablahub.core.environments import TABLE, has_kernel, packages
from nablahub.core.operations import (
    Call,
    Preparation,
    StreamCall,
    at_leader,
    last_event_id,
    operation,
    stream,
)
from nablahub.core.paging import Page
from nablahub.jobs.artifacts import listed, opened, zipped
from nablahub.jobs.runners.contract import TaskName
from nablahub.jobs.service import JobService, as_wire
from nablahub.jobs.submission import why_not
from nablahub.jobs.types import (
    LONGEST_LOG,
    Artifact,
    ArtifactQuery,
    Artifacts,
    ArtifactsQuery,
    EnvironmentInfo,
    EnvironmentList,
    InstanceTypeInfo,
    InstanceTypes,
    Job,
    JobCreate,
    JobQuery,
    LogQuery,
)

_CHUNK = 256 * 1024


@operation("GET", "/jobs", scope="jobs:read", query=JobQuery)
def list_jobs(call: Call) -> Page[Job]:
    """List the jobs of your teams."""
    items, following = call.get(JobService).list(call.session, call.who, call.query)
    return Page(items=items, next=following)


@operation("POST", "/jobs", scope="jobs:write", status=201)
def create_job(call: Call, body: JobCreate) -> Job:
    """Submit a job."""
    return as_wire(call.get(JobService).submit(call.session, call.who, body))


@operation("GET", "/jobs/{job}", scope="jobs:read")
def get_job(call: Call) -> Job:
    """Get a job."""
    return as_wire(call.get(JobService).row(call.session, call.who, call.path["job"]))


@operation("DELETE", "/jobs/{job}", scope="jobs:write")
def delete_job(call: Call) -> None:
    """Delete a job that has ended, with its log and artifacts."""
    service = call.get(JobService)
    service.delete(call.session, service.row(call.session, call.who, call.path["job"]))


@operation("POST", "/jobs/{job}/cancel", scope="jobs:write")
def cancel_job(call: Call) -> Job:
    """End a job: SIGTERM to its processes, SIGKILL after its grace."""
    service = call.get(JobService)
    row = service.row(call.session, call.who, call.path["job"])
    return as_wire(service.cancel(call.session, row, f"{call.who.name} cancelled it."))


@at_leader
@stream(
    "GET", "/jobs/{job}/logs", scope="jobs:read", query=LogQuery, produces="text/plain"
)  # fmt: skip
async def get_log(call: StreamCall) -> None:
    """Get what a job wrote; with `follow`, as events `log` until the event `end`: the job.

    Events `status` come between: the job's message whenever it changes, such as what it waits for.
    """
    if call.query.follow:
        await _follow(call)
        return
    service = call.get(JobService)
    row = await call.db_read(lambda s: service.row(s, call.who, call.path["job"]))
    call.set_header("Content-Type", "text/plain; charset=utf-8")
    offset = call.query.offset
    while part := await service.runner.logs(TaskName(row.id), offset, _CHUNK):
        offset += len(part)
        await call.write(part)


async def _follow(call: StreamCall) -> None:
    service = call.get(JobService)
    resumed = last_event_id(call.request_headers)
    offset = call.query.offset if resumed is None else min(resumed, LONGEST_LOG)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    with service.changes(call.path["job"]) as changes:
        row = await service.look_up(call.who, call.path["job"])
        call.set_header("Content-Type", "text/event-stream")
        async with (
            contextlib.aclosing(service.follow(row, changes, offset)) as source,
            contextlib.aclosing(call.living(source)) as parts,
        ):
            async for part in parts:
                if isinstance(part, Job):
                    await call.sse(part.model_dump(mode="json"), event="end")
                    return
                if isinstance(part, str):
                    await call.sse({"message": part}, event="status")
                    continue
                offset += len(part)
                text = decoder.decode(part)
                # Where a character is cut in two, a client that resumes must get it whole.
                whole = offset - len(decoder.getstate()[0])
                await call.sse({"offset": whole, "text": text}, event="log", seq=str(whole))


@at_leader
@stream(
    "GET", "/jobs/{job}/artifacts", scope="jobs:read", query=ArtifactsQuery,
    produces="application/json",
)  # fmt: skip
async def list_artifacts(call: StreamCall) -> Artifacts:
    """List the files in a job's /artifacts."""
    service = call.get(JobService)
    row = await call.db_read(lambda s: service.row(s, call.who, call.path["job"]))
    root = service.runner.artifacts(TaskName(row.id))
    asked: ArtifactsQuery = call.query

    def look() -> list[Artifact]:
        return list(islice(listed(root, asked.cursor), asked.limit + 1))

    found = await asyncio.to_thread(look)
    items = found[: asked.limit]
    return Artifacts(items=items, next=items[-1].path if len(found) > len(items) else None)


@at_leader
@stream(
    "GET", "/jobs/{job}/artifacts/{path+}", scope="jobs:read", query=ArtifactQuery, produces="*/*"
)  # fmt: skip
async def get_artifact(call: StreamCall) -> None:
    """Get a file of a job's /artifacts, or the part of it that `Range` asks for."""
    service = call.get(JobService)
    row = await call.db_read(lambda s: service.row(s, call.who, call.path["job"]))
    root = service.runner.artifacts(TaskName(row.id))
    file = await asyncio.to_thread(opened, root, call.path["path"])
    with file:
        # Of a file that still grows it is what is there now.
        start, left = take_range(call, os.fstat(file.fileno()).st_size)
        set_content_headers(call, call.path["path"], download=call.query.download)
        file.seek(start)
        while left and (part := await asyncio.to_thread(file.read, min(left, _CHUNK))):
            left -= len(part)
            await call.write(part)


@at_leader
@stream("GET", "/jobs/{job}/archive", scope="jobs:read", produces="application/zip")
async def get_archive(call: StreamCall) -> None:
    """Get all files of a job's /artifacts as one ZIP file."""
    service = call.get(JobService)
    row = await call.db_read(lambda s: service.row(s, call.who, call.path["job"]))
    root = service.runner.artifacts(TaskName(row.id))
    call.set_header("Content-Type", "application/zip")
    call.set_header("Content-Disposition", f'attachment; filename="artifacts-{row.id}.zip"')
    parts = zipped(root)
    while (part := await asyncio.to_thread(next, parts, None)) is not None:
        await call.write(part)


async def _look_at_nodes(call: Preparation, _body: None) -> Mapping[str, str]:
    service = call.get(JobService)
    lacking = service.ground.lacking
    return {} if lacking is None else await lacking(service.offer().types.values())


@operation("GET", "/instance-types", scope="jobs:read", prepare=_look_at_nodes)
def list_instance_types(call: Call) -> InstanceTypes:
    """List what jobs may be given, whether there is such a machine, and whether you may take it."""
    service = call.get(JobService)
    lacking: Mapping[str, str] = call.prepared
    offer = service.offer()
    items = []
    for kind in offer.types.values():
        reason = why_not(kind, call.who, service.machine) or lacking.get(kind.name)
        items.append(
            InstanceTypeInfo(
                name=kind.name, cpus=kind.cpus, memory_gib=kind.memory_gib, gpu=kind.gpu,
                gpus=kind.gpus, gpu_memory_gib=kind.gpu_memory_gib, price=kind.price,
                max_hours=kind.max_hours, idle_minutes=kind.idle_minutes, summary=kind.summary,
                available=reason is None, reason=reason,
                free=reason is None and service.capacity.has("task", kind),
            )
        )  # fmt: skip
    warning = offer.problem.story if offer.problem is not None and call.who.admin else None
    return InstanceTypes(items=items, warning=warning)


@operation("GET", "/environments", scope="jobs:read")
def list_environments(call: Call) -> EnvironmentList:
    """List the environments that jobs may run in."""
    environments = call.get(JobService).layout.environments
    return EnvironmentList(
        items=[
            EnvironmentInfo(
                name=entry.name, summary=entry.summary, aliases=list(entry.aliases),
                kernel=has_kernel(entry.name), built=environments.find(entry.name) is not None,
                packages=packages(entry.name),
            )
            for entry in TABLE.values()
            if entry.jobs
        ]
    )  # fmt: skip
