"""Operations that the pod of a job uses to bring out what its command left; nobody else may."""

from __future__ import annotations

from typing import Any, cast

from pydantic import Field

from nablahub.core.operations import StreamCall, at_leader, stream
from nablahub.core.wire import Body, Resource
from nablahub.jobs.errors import NoSuchJob
from nablahub.jobs.runners.contract import TaskName
from nablahub.jobs.runners.receiving import Part, Receiving
from nablahub.jobs.service import JobService
from nablahub.jobs.types import LONGEST_LOG, MOST_NODES

PARTS = ("artifacts", "outputs")


class TakenLog(Resource):
    """How much of a job's log is there."""

    size: int = Field(description="Bytes; the sender goes on from there")


class TaskLogQuery(Body):
    """Where a part of a log begins."""

    offset: int = Field(
        ge=0, le=LONGEST_LOG, description="The byte of the log that the body begins with"
    )
    node: int | None = Field(
        default=None, ge=0, lt=MOST_NODES, description="Which of a job's several nodes wrote it"
    )
    source: str = Field(
        default="", pattern=r"^[a-z0-9.-]{0,63}$", description="Which of a server's pods sends it"
    )


class TaskKeysQuery(Body):
    """What of its keys a server's pod knows."""

    known: str = Field(default="", max_length=64, description="The version it has, if any")


class TaskKeys(Resource):
    """The hashes of the keys that open a server."""

    version: str = Field(description="Changes with the content")
    content: dict[str, Any] = Field(description="What the model server reads as its file of keys")


@at_leader
@stream(
    "PUT", "/jobs/{job}/task/log", scope="jobs:deliver", query=TaskLogQuery,
    consumes="application/octet-stream",
)  # fmt: skip
async def put_log(call: StreamCall) -> TakenLog:
    """Take a part of a job's log, from its own pod; what came before is passed over."""
    receiving = _receiving(call)
    query = call.query
    size = await receiving.log(
        _own(call), query.offset, call.chunks(), query.source, node=query.node
    )
    return TakenLog(size=size)


@at_leader
@stream(
    "GET", "/jobs/{job}/task/keys", scope="jobs:deliver", query=TaskKeysQuery,
    produces="application/json",
)  # fmt: skip
async def get_keys(call: StreamCall) -> None:
    """Get the hashes of a server's keys, to its own pod: at once when they are others than known.

    Otherwise it waits for their next change, or for half a minute.
    """
    _receiving(call)
    job = call.path["job"]
    row = await call.db_read(lambda session: call.get(JobService).row(session, call.who, job))
    refs = [item["ref"] for item in row.spec["inputs"] if item["kind"] == "keys"]
    if not refs:
        raise NoSuchJob(job)
    version, content = await call.get(JobService).live_keys.wait(refs[0], call.query.known)
    await call.write(TaskKeys(version=version, content=content).model_dump_json().encode())


@at_leader
@stream(
    "PUT", "/jobs/{job}/task/files/{part}", scope="jobs:deliver", status=204,
    consumes="application/x-tar",
)  # fmt: skip
async def put_files(call: StreamCall) -> None:
    """Take a job's `artifacts` or `outputs` as a tar archive, from its own pod."""
    receiving = _receiving(call)
    part = call.path["part"]
    if part not in PARTS:
        raise NoSuchJob(call.path["job"])
    await receiving.tree(_own(call), cast("Part", part), call.chunks())


def _own(call: StreamCall) -> TaskName:
    """Return the task whose token is used; NoSuchJob when it is another's."""
    return TaskName(own_task(call))


def own_task(call: StreamCall) -> str:
    """Return the job whose own pod asks; NoSuchJob when it is another's."""
    if call.who.job_id is None or call.who.job_id != call.path["job"]:
        raise NoSuchJob(call.path["job"])
    return call.who.job_id


def _receiving(call: StreamCall) -> Receiving:
    _own(call)
    receiving = call.get(JobService).ground.receiving
    if receiving is None:  # Its tasks run on this machine: they have nothing to send.
        raise NoSuchJob(call.path["job"])
    return receiving
