"""Operations on workspaces."""

from __future__ import annotations

from nablahub.core.operations import Call, StreamCall, at_leader, operation, stream
from nablahub.datasets.threads import blocking
from nablahub.jobs.service import JobService
from nablahub.jobs.task_handlers import own_task
from nablahub.jobs.workspaces.errors import NoSuchWorkspace
from nablahub.jobs.workspaces.types import Workspace
from nablahub.projects.service import ProjectService


@operation("GET", "/projects/{project}/workspaces/{digest}", scope="jobs:read")
def get_workspace(call: Call) -> Workspace:
    """Tell whether a folder was uploaded for jobs of a project's team."""
    project = call.get(ProjectService).row(call.session, call.who, call.path["project"])
    workspaces = call.get(JobService).workspaces
    row = workspaces.find(call.session, project.team_id, call.path["digest"])
    return Workspace(digest=row.digest, size=row.size)


@stream(
    "PUT", "/projects/{project}/workspaces/{digest}", scope="jobs:write",
    consumes="application/gzip",
)  # fmt: skip
async def put_workspace(call: StreamCall) -> Workspace:
    """Upload a folder for jobs, as a tar archive compressed by gzip.

    The digest is the sha256 of the archive before it is compressed. What is not needed by a job
    and was not used for a week is deleted, earlier where its team has no room for something else.
    """
    digest = call.path["digest"]
    project = await call.db_read(
        lambda s: call.get(ProjectService).row(s, call.who, call.path["project"])
    )
    workspaces = call.get(JobService).workspaces
    await blocking(workspaces.collect)
    size = int(call.request_headers.get("Content-Length", 0))
    taking = await blocking(workspaces.taking, project.team_id, digest, size)
    try:
        async for data in call.chunks():
            await blocking(taking.feed, data)
        return await blocking(workspaces.taken, taking, project.team_id)
    finally:
        await blocking(workspaces.end, taking, project.team_id)


@at_leader
@stream(
    "GET", "/jobs/{job}/task/workspace", scope="jobs:deliver", produces="application/gzip"
)  # fmt: skip
async def get_task_workspace(call: StreamCall) -> None:
    """Get the workspace of a job, to its own pod."""
    job = own_task(call)
    service = call.get(JobService)
    row = await call.db_read(lambda session: service.row(session, call.who, job))
    if row.workspace_id is None:
        raise NoSuchWorkspace(job)
    chunks = await blocking(service.workspaces.chunks, row.workspace_id)
    while (data := await blocking(next, chunks, None)) is not None:
        await call.write(data)
