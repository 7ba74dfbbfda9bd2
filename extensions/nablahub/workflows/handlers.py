"""Operations on workflows and their runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from sqlalchemy.orm import Session

from nablahub.core.errors import NotFound
from nablahub.core.operations import Call, Preparation, StreamCall, operation, stream
from nablahub.core.paging import Page
from nablahub.projects.service import ProjectService
from nablahub.workflows.runs import KIND, MANY_JOBS, Ready
from nablahub.workflows.service import Sound, WorkflowService
from nablahub.workflows.store import RunRow, WorkflowRow, runs_of
from nablahub.workflows.types import (
    ENDED,
    ProjectRunQuery,
    Run,
    RunCreate,
    RunQuery,
    Validation,
    ValidationRequest,
    Workflow,
    WorkflowCreate,
    WorkflowDetail,
    WorkflowPatch,
    WorkflowQuery,
)

#: A run of many jobs is told in this rhythm at most: each telling holds all of them.
MANY_JOBS_SECONDS = 0.5


@operation("GET", "/workflows", scope="workflows:read", query=WorkflowQuery)
def list_workflows(call: Call) -> Page[Workflow]:
    """List the workflows of your teams."""
    items, following = call.get(WorkflowService).list(call.session, call.who, call.query)
    return Page(items=items, next=following)


def _read_new(call: Preparation, body: WorkflowCreate) -> Sound:
    call.read(lambda session: call.get(ProjectService).row(session, call.who, body.project))
    return call.get(WorkflowService).sound(call.who, body.spec, body.files)


@operation("POST", "/workflows", scope="workflows:write", status=201, prepare=_read_new)
def create_workflow(call: Call, body: WorkflowCreate) -> WorkflowDetail:
    """Create a workflow from a spec; every fault of it is told, with line and column."""
    return call.get(WorkflowService).create(call.session, call.who, body, call.prepared)


def _validate(call: Preparation, body: ValidationRequest) -> Validation:
    return call.get(WorkflowService).validate(call.who, body.spec, body.files)


@operation(
    "POST", "/workflow-validations", scope="workflows:write", read_only=True, prepare=_validate
)  # fmt: skip
def validate_workflow(call: Call, body: ValidationRequest) -> Validation:
    """Look at a spec and tell all that is wrong with it; nothing is stored."""
    found: Validation = call.prepared
    return found


@operation("GET", "/workflows/{workflow}", scope="workflows:read")
def get_workflow(call: Call) -> WorkflowDetail:
    """Get a workflow with its spec."""
    return call.get(WorkflowService).get(call.session, call.who, call.path["workflow"])


def _read_change(call: Preparation, body: WorkflowPatch) -> Sound:
    service = call.get(WorkflowService)

    def look(session: Session) -> tuple[str | dict[str, Any], Mapping[str, str], int]:
        row = service.row(session, call.who, call.path["workflow"])
        call.check_etag(row.revision)
        return (*service.changed(row, body), row.revision)

    return service.sound(call.who, *call.read(look))


@operation("PATCH", "/workflows/{workflow}", scope="workflows:write", prepare=_read_change)
def change_workflow(call: Call, body: WorkflowPatch) -> WorkflowDetail:
    """Change a workflow's name, spec or files."""
    row = _workflow(call)
    call.check_etag(row.revision)
    return call.get(WorkflowService).change(call.session, row, body, call.prepared)


@operation("DELETE", "/workflows/{workflow}", scope="workflows:write")
def delete_workflow(call: Call) -> None:
    """Delete a workflow and the record of its runs."""
    call.get(WorkflowService).delete(call.session, _workflow(call))


@operation("GET", "/workflows/{workflow}/runs", scope="runs:read", query=RunQuery)
def list_runs(call: Call) -> Page[Run]:
    """List the runs of a workflow."""
    workflow, asked = _workflow(call), call.query
    query = runs_of(call.who.team_ids, workflow_id=workflow.id, state=asked.state)
    items, following = call.get(WorkflowService).runs.page(call.session, query, asked)
    return Page(items=items, next=following)


def _check_run(call: Preparation, body: RunCreate) -> Ready:
    service = call.get(WorkflowService)

    def look(session: Session) -> Ready:
        row = service.row(session, call.who, call.path["workflow"])
        return service.runs.ready(session, call.who, row, body.inputs)

    return call.read(look)


@operation(
    "POST", "/workflows/{workflow}/runs", scope="runs:write", status=201, prepare=_check_run
)  # fmt: skip
def start_run(call: Call, body: RunCreate) -> Run:
    """Start a run of a workflow."""
    runs = call.get(WorkflowService).runs
    return runs.start(call.session, call.who, _workflow(call), body, call.prepared)


@operation("GET", "/workflows/{workflow}/runs/{run}", scope="runs:read")
def get_run(call: Call) -> Run:
    """Get a run by its number or uuid."""
    return call.get(WorkflowService).runs.show(call.session, _run(call))


@operation("POST", "/workflows/{workflow}/runs/{run}/cancel", scope="runs:write")
def cancel_run(call: Call) -> Run:
    """Ask a run to end; nothing changes when it has."""
    return call.get(WorkflowService).runs.cancel(call.session, _run(call))


@operation("GET", "/runs", scope="runs:read", query=ProjectRunQuery)
def list_all_runs(call: Call) -> Page[Run]:
    """List the runs of all workflows, or of a project's."""
    asked: ProjectRunQuery = call.query
    project = asked.project or call.who.project_id
    if project is not None:
        call.get(ProjectService).row(call.session, call.who, project)
    query = runs_of(call.who.team_ids, project_id=project, state=asked.state)
    items, following = call.get(WorkflowService).runs.page(call.session, query, asked)
    return Page(items=items, next=following)


def _workflow(call: Call) -> WorkflowRow:
    return call.get(WorkflowService).row(call.session, call.who, call.path["workflow"])


def _run(call: Call) -> RunRow:
    return call.get(WorkflowService).runs.row(call.session, _workflow(call), call.path["run"])


@stream(
    "GET", "/workflows/{workflow}/runs/{run}/changes", scope="runs:read",
    produces="text/event-stream",
)  # fmt: skip
async def follow_run(call: StreamCall) -> None:
    """Send the run as it is now and after each change, until it has ended (server-sent events)."""
    service = call.get(WorkflowService)

    def look(session: Session) -> Run:
        workflow = service.row(session, call.who, call.path["workflow"])
        return service.runs.show(session, service.runs.row(session, workflow, call.path["run"]))

    bus = call.context.events
    after = await bus.last_seq()
    run = await call.db_read(look)
    call.set_header("X-Accel-Buffering", "no")
    await call.sse(run.model_dump(mode="json"), seq=str(after))
    async with aclosing(call.living(bus.listen(after))) as events:
        while run.state not in ENDED:
            event = await anext(events, None)
            if event is None:
                return
            if event.kind == KIND and event.id == run.uuid and event.seq > after:
                if len(run.jobs) > MANY_JOBS:
                    await asyncio.sleep(MANY_JOBS_SECONDS)
                # What happened until now is in what is read now, and need not be sent again.
                after = await bus.last_seq()
                run = await call.db_read(look)
                await call.sse(run.model_dump(mode="json"), seq=str(after))
    await call.sse({"state": run.state}, event="end")


@stream(
    "GET", "/workflows/{workflow}/files/{name+}", scope="workflows:read",
    produces="text/plain",
)  # fmt: skip
async def get_file(call: StreamCall) -> None:
    """Get a file that a workflow carries."""
    service, name = call.get(WorkflowService), call.path["name"]

    def look(session: Session) -> str:
        files = service.row(session, call.who, call.path["workflow"]).files
        if name not in files:
            raise NotFound(
                f"The workflow carries no file '{name}'.", hint="Its `files` lists them."
            )
        return files[name]

    text = await call.db_read(look)
    call.set_header("Content-Type", "text/plain; charset=utf-8")
    call.set_header("X-Content-Type-Options", "nosniff")
    call.set_header("Content-Security-Policy", "sandbox")
    await call.write(text.encode())
