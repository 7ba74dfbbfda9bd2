"""Rules of workflows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from nablahub.core.context import Context
from nablahub.core.database import count_by
from nablahub.core.errors import Fault, Invalid
from nablahub.core.events import Event
from nablahub.core.ids import new_uuid
from nablahub.core.operations import check_etag
from nablahub.core.paging import page
from nablahub.core.permissions import Principal
from nablahub.core.times import now
from nablahub.core.yamlspec import Document, document
from nablahub.projects.service import ProjectService, held
from nablahub.workflows.checks import check
from nablahub.workflows.errors import (
    InvalidWorkflow,
    NoSuchWorkflow,
    WorkflowNameTaken,
    WorkflowRuns,
)
from nablahub.workflows.files import check_files
from nablahub.workflows.machine import check_here
from nablahub.workflows.runs import RunKeeper, kept
from nablahub.workflows.slices import SliceWork
from nablahub.workflows.spec import Spec, parse, restore
from nablahub.workflows.store import (
    RunJobRow,
    RunRow,
    WorkflowRow,
    latest_runs,
    workflows_of,
)
from nablahub.workflows.types import (
    ENDED,
    FaultModel,
    InputSummary,
    JobSummary,
    RunSummary,
    Validation,
    Workflow,
    WorkflowCreate,
    WorkflowDetail,
    WorkflowPatch,
    WorkflowQuery,
)

Faults = list[Fault]
FaultModels = list[FaultModel]


@dataclass(frozen=True)
class Sound:
    """A spec that has no fault of its own: what is found out before it is stored.

    Parameters
    ----------
    text, files
        As they were sent.
    spec
        What was read of it.
    warnings
        What keeps it from running here just now.
    revision
        Of the workflow that is changed by it; 0 when it makes a new one.
    """

    text: str | dict[str, Any]
    files: Mapping[str, str]
    spec: Spec
    warnings: list[FaultModel]
    revision: int = 0


class WorkflowService:
    """Workflows of projects; their runs are kept by :attr:`runs`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._work = SliceWork(context)
        self.runs = RunKeeper(context, self._work)

    async def lead(self) -> None:
        """Remove what ended runs left behind when we were killed."""
        await self.runs.sweep()

    def resume(self, session: Session) -> None:
        """Look at every run that has not ended."""
        self.runs.resume(session)

    def count_states(self, session: Session) -> dict[str, dict[str, int]]:
        """Return how many runs are in which state."""
        return {"runs": count_by(session, RunRow.state)}

    def project_holds(self, session: Session, project_id: str) -> str | None:
        """Return how many workflows the project holds."""
        return held(session, WorkflowRow.project_id, project_id, "workflow")

    def validate(
        self, who: Principal, spec: str | dict[str, Any], files: Mapping[str, str]
    ) -> Validation:
        """Return everything that is wrong with a spec, here and for that user; store nothing."""
        source = document(spec)
        parsed, faults = self._faults(source, files)
        try:
            check_files(files)
        except Invalid as error:
            faults = [*faults, *error.errors]
        if parsed is not None:
            faults = [*faults, *check_here(source, parsed, self._work.machine(who))]
        faults = sorted(faults, key=lambda f: (f.line or 0, f.column or 0))
        return Validation(valid=not faults, errors=_models(faults))

    def sound(
        self,
        who: Principal,
        spec: str | dict[str, Any],
        files: Mapping[str, str],
        revision: int = 0,
    ) -> Sound:
        """Read and check a spec: seconds for a long one, so not in a transaction that writes.

        Raises
        ------
        InvalidWorkflow
            With all that is wrong with it.
        MalformedSpec
            It isn't YAML.
        Invalid, TooLarge
            The files can't be carried.
        """
        check_files(files)
        source = document(spec)
        parsed, faults = self._faults(source, files)
        if faults or parsed is None:
            raise InvalidWorkflow(faults)
        warnings = _models(check_here(source, parsed, self._work.machine(who)))
        return Sound(spec, files, parsed, warnings, revision)

    def changed(
        self, row: WorkflowRow, asked: WorkflowPatch
    ) -> tuple[str | dict[str, Any], Mapping[str, str]]:
        """Return the spec and files that a patch makes of a workflow's."""
        text: str | dict[str, Any] = row.source if row.source is not None else row.spec
        return (
            text if asked.spec is None else asked.spec,
            row.files if asked.files is None else asked.files,
        )

    def create(
        self, session: Session, who: Principal, asked: WorkflowCreate, sound: Sound
    ) -> WorkflowDetail:
        """Make a workflow of a sound spec."""
        project = self._context.get(ProjectService).row(session, who, asked.project)
        spec = sound.spec
        name = asked.name or spec.name
        if name is None:
            raise Invalid(
                "The workflow has no name.",
                errors=[Fault("A name is missing.", "/name", hint="Or write `name:` in the spec.")],
            )
        self._check_free(session, project.id, name)
        at = now()
        row = WorkflowRow(
            id=new_uuid(), team_id=project.team_id, project_id=project.id, name=name,
            spec=spec.dump(), source=asked.spec if isinstance(asked.spec, str) else None,
            files=asked.files, file_names=sorted(asked.files), last_number=0, created_by=who.name,
            created_at=at, updated_at=at, revision=1,
        )  # fmt: skip
        session.add(row)
        session.flush()
        self._tell(session, row, "created")
        return self._detail(session, row, spec, sound.warnings)

    def row(self, session: Session, who: Principal, workflow_id: str) -> WorkflowRow:
        """Return the row; NoSuchWorkflow unless it is there and the caller's."""
        row = session.get(WorkflowRow, workflow_id)
        if row is None:
            raise NoSuchWorkflow(workflow_id)
        who.check_team(row.team_id, f"Workflow {workflow_id}")
        who.check_project(row.project_id, f"Workflow {workflow_id}")
        return row

    def get(self, session: Session, who: Principal, workflow_id: str) -> WorkflowDetail:
        """Return a workflow with its spec, and what keeps it from running here."""
        row = self.row(session, who, workflow_id)
        spec = restore(row.spec)
        warnings = check_here(kept(row), spec, self._work.machine(who))
        return self._detail(session, row, spec, _models(warnings))

    def list(
        self, session: Session, who: Principal, asked: WorkflowQuery
    ) -> tuple[list[Workflow], str | None]:
        """Return a page of the caller's workflows."""
        if asked.project is not None:
            self._context.get(ProjectService).row(session, who, asked.project)
        project = asked.project or who.project_id
        columns = {
            "created_at": WorkflowRow.created_at, "updated_at": WorkflowRow.updated_at,
            "name": WorkflowRow.name,
        }  # fmt: skip
        query = workflows_of(who.team_ids, project, asked.name)
        rows, following = page(session, query, asked, columns=columns, key=WorkflowRow.id)
        latest = latest_runs(session, [row.id for row in rows])
        items = [
            Workflow.model_validate(_fields(row, restore(row.spec), latest.get(row.id)))
            for row in rows
        ]
        return items, following

    def change(
        self, session: Session, row: WorkflowRow, asked: WorkflowPatch, sound: Sound
    ) -> WorkflowDetail:
        """Change name, spec or files; runs go on with what they were started with."""
        # `If-Match: *` allows every revision, but not one that the spec was not checked with.
        check_etag(f'"{sound.revision}"', row.revision)
        if asked.name is not None and asked.name != row.name:
            self._check_free(session, row.project_id, asked.name)
            row.name = asked.name
        text, spec = sound.text, sound.spec
        row.spec, row.source = spec.dump(), text if isinstance(text, str) else None
        row.files, row.file_names = dict(sound.files), sorted(sound.files)
        row.updated_at = now()
        row.revision += 1
        self._tell(session, row, "changed")
        return self._detail(session, row, spec, sound.warnings)

    def delete(self, session: Session, row: WorkflowRow) -> None:
        """Delete a workflow and the record of its runs; WorkflowRuns while one has not ended."""
        going = session.scalars(
            select(RunRow.number).where(
                RunRow.workflow_id == row.id, RunRow.state.not_in(sorted(ENDED))
            )
        ).first()
        if going is not None:
            raise WorkflowRuns(row.name, going)
        runs = session.scalars(select(RunRow.uuid).where(RunRow.workflow_id == row.id)).all()
        for run in runs:
            self._work.forget(session, run)
        session.execute(delete(RunJobRow).where(RunJobRow.run_uuid.in_(runs)))
        session.execute(delete(RunRow).where(RunRow.workflow_id == row.id))
        self._tell(session, row, "deleted")
        session.delete(row)

    def _faults(self, source: Document, files: Mapping[str, str]) -> tuple[Spec | None, Faults]:
        spec, faults = parse(source)
        if spec is not None:
            faults = [*faults, *check(source, spec, files)]
        return spec, sorted(faults, key=lambda f: (f.line or 0, f.column or 0))

    def _detail(
        self, session: Session, row: WorkflowRow, spec: Spec, warnings: FaultModels
    ) -> WorkflowDetail:
        latest = latest_runs(session, [row.id]).get(row.id)
        return WorkflowDetail.model_validate({
            **_fields(row, spec, latest), "spec": row.spec, "source": row.source,
            "warnings": warnings,
        })  # fmt: skip

    def _check_free(self, session: Session, project_id: str, name: str) -> None:
        query = select(WorkflowRow.id).filter_by(project_id=project_id, name=name)
        if session.scalars(query).first():
            raise WorkflowNameTaken(name)

    def _tell(self, session: Session, row: WorkflowRow, type_: str) -> None:
        event = Event("workflow", row.id, type_, row.team_id, row.project_id, {"name": row.name})
        self._context.events.emit(session, event)


def _models(faults: list[Fault]) -> list[FaultModel]:
    return [FaultModel.model_validate(fault.as_dict()) for fault in faults]


def _fields(row: WorkflowRow, spec: Spec, latest: RunRow | None) -> dict[str, Any]:
    return {
        **{
            name: getattr(row, name)
            for name in (
                "id", "team_id", "project_id", "name", "created_by", "created_at", "updated_at",
                "revision",
            )
        },
        "jobs": [
            JobSummary(name=name, action=job.uses or "", needs=job.needs)
            for name, job in spec.jobs.items()
        ],
        "inputs": [
            InputSummary(
                name=name, type=item.type, optional=item.optional,
                default=(item.default.value or item.default.reference) if item.default else None,
            )
            for name, item in spec.inputs.items()
        ],
        "files": row.file_names,
        "latest_run": latest and RunSummary(
            id=latest.uuid, number=latest.number, state=latest.state,  # type: ignore[arg-type]
            created_at=latest.created_at, finished_at=latest.finished_at,
        ),
    }  # fmt: skip
