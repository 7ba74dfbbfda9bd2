"""Keeps the runs of workflows: starts them, shows them, and brings each to its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from nablahub.core.context import Context
from nablahub.core.errors import Conflict, NablaError, StorageFull, Unavailable
from nablahub.core.events import Event
from nablahub.core.ids import new_uuid
from nablahub.core.paging import PageQuery, page
from nablahub.core.permissions import Principal
from nablahub.core.times import now
from nablahub.core.yamlspec import MAX_CHARACTERS, Document, LaterMarks
from nablahub.datasets.threads import blocking
from nablahub.jobs.service import JobService
from nablahub.workflows.advancing import CANCELLED, Advancer
from nablahub.workflows.binding import Binder
from nablahub.workflows.errors import CannotRunHere, InvalidInputs, NoSuchRun
from nablahub.workflows.machine import check_here
from nablahub.workflows.slices import SliceWork
from nablahub.workflows.spec import Spec, restore
from nablahub.workflows.store import (
    RunJobRow,
    RunRow,
    WorkflowRow,
    jobs_of,
    unfinished,
    workspaces_needed,
)
from nablahub.workflows.types import ENDED, InputValue, Run, RunCreate, RunJob
from nablahub.workflows.work import ModelRequest, Place

KIND = "run"
MANY_JOBS = 100
#: Characters of a text that is read again within a transaction, to name a fault's line.
SHORT = 20_000


@dataclass(frozen=True)
class Ready:
    """A workflow that was found able to run, in the revision that was looked at."""

    spec: Spec
    revision: int


class RunKeeper:
    """Runs of workflows."""

    def __init__(self, context: Context, work: SliceWork) -> None:
        self._context = context
        self._work = work
        self._advancer = Advancer(work, self._tell)
        self._volumes = context.get(JobService).ground.volumes
        self._workspaces = context.get(JobService).workspaces
        self._workspaces.needers.append(workspaces_needed)
        context.reconciler.register(KIND, self._step)

    def ready(
        self,
        session: Session,
        who: Principal,
        workflow: WorkflowRow,
        given: Mapping[str, InputValue],
    ) -> Ready:
        """Look at a workflow that shall run; it reads only, and takes long when faults have lines.

        Raises
        ------
        CannotRunHere
            An environment or instance type is not to be had, each with its line.
        InvalidInputs
            An input is missing, unknown, or names what does not exist.
        """
        spec = restore(workflow.spec)
        source = kept(workflow, longest=MAX_CHARACTERS)
        faults = check_here(source, spec, self._work.machine(who))
        if faults:
            raise CannotRunHere(faults)
        place = Place("", workflow.team_id, workflow.project_id, who.name)
        found = Binder(session, who, place, self._work, source, spec).look_up(given)
        if found.faults:
            raise InvalidInputs(found.faults)
        return Ready(spec, workflow.revision)

    def start(
        self,
        session: Session,
        who: Principal,
        workflow: WorkflowRow,
        asked: RunCreate,
        ready: Ready,
    ) -> Run:
        """Start a run.

        Raises
        ------
        NoSuchWorkspace
            It was not uploaded, or not by this team.
        Conflict
            The workflow is another one than was found ready.
        InvalidInputs
            An input or output names what does not exist, or not any more.
        """
        if workflow.revision != ready.revision:
            raise Conflict(
                f"The workflow {workflow.name} was changed while a run of it was to start.",
                hint="Start it again.",
            )
        spec, uuid = ready.spec, new_uuid()
        place = Place(uuid, workflow.team_id, workflow.project_id, who.name)
        found = Binder(session, who, place, self._work, kept(workflow), spec).bind(asked.inputs)
        if found.faults:
            raise InvalidInputs(found.faults)
        given: dict[str, Any] = {}
        if asked.workspace is not None:
            used = self._workspaces.use(session, workflow.team_id, asked.workspace)
            given["workspace"] = {"id": used, "digest": asked.workspace}
        workflow.last_number += 1
        run = RunRow(
            uuid=uuid, workflow_id=workflow.id, number=workflow.last_number,
            team_id=workflow.team_id, project_id=workflow.project_id, spec=workflow.spec,
            files=workflow.files, inputs={k: v.model_dump() for k, v in found.inputs.items()},
            bound={
                "inline": {k: v.model_dump() for k, v in found.inline.items()},
                "targets": found.targets,
                "groups": sorted(who.groups),
                **given,
            },
            outputs={}, cancel_asked=False, state="Pending", reason="", message="",
            created_by=who.name, created_at=now(), started_at=None, finished_at=None,
        )  # fmt: skip
        session.add(run)
        session.flush()
        rows = [
            RunJobRow(
                run_uuid=uuid, name=name, position=position, action=job.uses or "",
                needs=job.needs, job_id=None, state=None, reason="", message="", outputs={},
                notebook=None, started_at=None, finished_at=None,
            )
            for position, (name, job) in enumerate(spec.jobs.items())
        ]  # fmt: skip
        session.add_all(rows)
        session.flush()
        # The first step belongs to the same transaction: what can start, starts with the request.
        self._tell(session, run, rows, "created")
        self._advancer.step(session, uuid)
        self._context.reconciler.wake(session, KIND, uuid)
        return _as_wire(run, workflow.name, rows)

    def row(self, session: Session, workflow: WorkflowRow, number: str) -> RunRow:
        """Return a run of a workflow by its number or uuid; NoSuchRun when there is none."""
        query = select(RunRow).where(RunRow.workflow_id == workflow.id)
        if number.isascii() and number.isdigit() and len(number) < 18:
            query = query.where(RunRow.number == int(number))
        else:
            query = query.where(RunRow.uuid == number)
        found = session.scalars(query).first()
        if found is None:
            raise NoSuchRun(number)
        return found

    def show(self, session: Session, run: RunRow) -> Run:
        """Return a run as clients see it."""
        return self.show_all(session, [run])[0]

    def show_all(self, session: Session, runs: Sequence[RunRow]) -> list[Run]:
        """Return runs as clients see them."""
        jobs = jobs_of(session, [run.uuid for run in runs])
        names = _names(session, {run.workflow_id for run in runs})
        return [_as_wire(run, names[run.workflow_id], jobs[run.uuid]) for run in runs]

    def page(
        self, session: Session, query: Select[RunRow], asked: PageQuery
    ) -> tuple[list[Run], str | None]:
        """Return a page of the runs that a query selects."""
        columns = {"created_at": RunRow.created_at, "number": RunRow.number}
        rows, following = page(session, query, asked, columns=columns, key=RunRow.uuid)
        return self.show_all(session, rows), following

    def cancel(self, session: Session, run: RunRow) -> Run:
        """Ask a run to end; nothing changes when it has."""
        if run.state not in ENDED and not run.cancel_asked:
            run.cancel_asked = True
            run.reason, run.message = CANCELLED, "The run was cancelled."
            self._advancer.step(session, run.uuid)
            self._context.reconciler.wake(session, KIND, run.uuid)
        return self.show(session, run)

    def resume(self, session: Session) -> None:
        """Look at every run that has not ended."""
        for uuid in unfinished(session):
            self._context.reconciler.wake(session, KIND, uuid)

    async def sweep(self) -> None:
        """Remove volumes of runs that have ended."""
        # In this order: a run that begins meanwhile has volumes only after it is known.
        owners = await self._volumes.owners()
        alive = set(await self._context.database.read(unfinished))
        for uuid in owners - alive:
            await self._volumes.remove(uuid)

    async def _step(self, uuid: str) -> float | None:
        read: dict[str, object] = {}
        while True:
            step = await self._context.database.write(lambda s: self._advancer.step(s, uuid, read))
            if not step.unread:
                break
            for name, (place, asked) in step.unread.items():
                read[name] = await self._read_model(place, asked)
        if step.ended:
            await self._volumes.remove(uuid)
        return step.again

    async def _read_model(self, place: Place, asked: ModelRequest) -> object:
        """Look at a model's files; what is wrong with them is the job's affair."""
        try:
            return await blocking(self._work.read_model, place, asked)
        except (StorageFull, Unavailable):
            raise  # It may go the next time.
        except NablaError as error:
            return error

    def _tell(self, session: Session, run: RunRow, rows: list[RunJobRow], type_: str) -> None:
        data = {
            "workflow_id": run.workflow_id, "number": run.number, "state": run.state,
            "message": run.message,
            # For what shows a small graph; a big one asks for the run.
            "jobs": {row.name: row.state or "Pending" for row in rows[:MANY_JOBS]},
        }  # fmt: skip
        event = Event(KIND, run.uuid, type_, run.team_id, run.project_id, data)
        self._context.events.emit(session, event)


def kept(workflow: WorkflowRow, longest: int = SHORT) -> Document:
    """Return a workflow's spec with the places of its text, which is read for a fault only.

    Faults of a text of more characters than ``longest`` have pointers, and no lines.
    """
    text = workflow.source
    known = text is not None and len(text) <= longest
    return Document(workflow.spec, LaterMarks(text or "") if known else {})


def _names(session: Session, workflow_ids: Iterable[str]) -> dict[str, str]:
    query = select(WorkflowRow.id, WorkflowRow.name).where(WorkflowRow.id.in_(list(workflow_ids)))
    return {row.id: row.name for row in session.execute(query)}


def _as_wire(run: RunRow, workflow_name: str, rows: Sequence[RunJobRow]) -> Run:
    jobs = [
        RunJob.model_validate({
            **{name: getattr(row, name) for name in RunJob.model_fields},
            "state": row.state or "Pending",
        })
        for row in rows
    ]  # fmt: skip
    fields = {
        name: getattr(run, name)
        for name in Run.model_fields
        if name not in ("id", "workflow_name", "jobs")
    }
    return Run.model_validate(
        {**fields, "id": run.uuid, "workflow_name": workflow_name, "jobs": jobs}
    )
