"""A database with one project, and slices below that misbehave as a test says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from nablahub.core.database import Database
from nablahub.core.errors import Invalid, NotFound
from nablahub.core.ids import new_uuid
from nablahub.core.permissions import Principal
from nablahub.core.times import now
from nablahub.core.yamlspec import Document
from nablahub.workflows.advancing import Advancer
from nablahub.workflows.binding import Binder
from nablahub.workflows.spec import parse
from nablahub.workflows.store import RunJobRow, RunRow, WorkflowRow, jobs_of
from nablahub.workflows.types import ENDED, InputValue
from nablahub.workflows.work import JobRequest, JobView, ModelRequest, Place

PLACE = Place("run", "team", "project", "alice")
ALICE = Principal("alice", team_ids=frozenset({"team"}))


@dataclass
class Below:
    """Datasets, models and jobs of a test: jobs end when the test says so."""

    datasets: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, JobRequest] = field(default_factory=dict)
    views: dict[str, JobView] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    submitted: int = 0

    def resolve_dataset(self, session: Session, who: Principal, place: Place, ref: str) -> str:
        if ref not in self.datasets:
            raise NotFound(f"There is no dataset '{ref}'.", hint="Push one.")
        return self.datasets[ref]

    resolve_model = resolve_dataset

    def resolve_bucket(
        self, session: Session, who: Principal, place: Place, ref: str, *, read_only: bool
    ) -> str:
        return f"sp-{ref}"

    def ensure_dataset(self, session: Session, who: Principal, place: Place, ref: str) -> str:
        return f"ds-{ref}"

    def submit(self, session: Session, place: Place, request: JobRequest, key: str) -> str:
        if request.name in self.refused:
            raise Invalid("No such environment.")
        if key not in self.jobs:
            self.submitted += 1
        self.jobs[key] = request
        self.views.setdefault(key, JobView("Pending"))
        return key

    def look(self, session: Session, run: str) -> Mapping[str, JobView]:
        return self.views

    def cancel(self, session: Session, job_id: str) -> bool:
        if self.views[job_id].state in ENDED:
            return False
        self.views[job_id] = JobView("Canceled", "cancelled", "It was cancelled.")
        return True

    def forget(self, session: Session, run: str) -> None:
        self.views.clear()

    def read_model(self, place: Place, asked: ModelRequest) -> object:
        return asked

    def create_model(
        self, session: Session, place: Place, asked: ModelRequest, files: Any, key: str
    ) -> str:
        assert files == asked
        self.models[key] = asked.version
        return f"mo-{asked.name}:{key[-7:]}"

    def end(self, job_id: str, state: str) -> None:
        """End a job; one that ends well has left all its outputs."""
        outputs: dict[str, Any] = {}
        for output in self.jobs[job_id].outputs:
            outputs[output.name] = {"kind": output.kind}
            if output.kind == "dataset":
                outputs[output.name]["ref"] = f"{output.ref}:v"
            elif output.kind == "string":
                outputs[output.name]["value"] = f"text of {output.name}"
        left = outputs if state == "Succeeded" else {}
        self.views[job_id] = JobView(state, "code", "", left, now(), now())


@dataclass
class House:
    """A database with one project."""

    database: Database
    told: list[str] = field(default_factory=list)

    def advancer(self, below: Below) -> Advancer:
        """Return a new advancer, as after a restart."""
        return Advancer(below, lambda _s, run, _rows, _type: self.told.append(run.state))

    def start(self, below: Below, spec: Mapping[str, Any], **inputs: str) -> str:
        """Start a run of a spec and return its uuid."""
        uuid = new_uuid()

        def work(session: Session) -> str:
            source = Document(dict(spec))
            parsed, faults = parse(source)
            assert parsed is not None
            assert faults == []
            values = {k: InputValue(value=v, ref=v) for k, v in inputs.items()}
            found = Binder(session, ALICE, PLACE, below, source, parsed).bind(values)
            assert found.faults == []
            session.execute(insert(WorkflowRow).values(
                id=uuid, team_id="team", project_id="project", name=uuid, spec=parsed.dump(),
                source=None, file_names=[], files={}, last_number=1, created_by="alice",
                created_at=now(), updated_at=now(), revision=1,
            ))  # fmt: skip
            session.add(RunRow(
                uuid=uuid, workflow_id=uuid, number=1, team_id="team", project_id="project",
                spec=parsed.dump(), files={}, outputs={}, cancel_asked=False, state="Pending",
                inputs={k: v.model_dump() for k, v in found.inputs.items()},
                bound={"inline": {k: v.model_dump() for k, v in found.inline.items()},
                       "targets": found.targets},
                reason="", message="", created_by="alice", created_at=now(), started_at=None,
                finished_at=None,
            ))  # fmt: skip
            session.flush()
            for position, (name, job) in enumerate(parsed.jobs.items()):
                session.add(RunJobRow(
                    run_uuid=uuid, name=name, position=position, action=job.uses or "",
                    needs=job.needs, job_id=None, state=None, reason="", message="", outputs={},
                    notebook=None, started_at=None, finished_at=None,
                ))  # fmt: skip
            return uuid

        return self.database.write_sync(work)

    def step(self, below: Below, uuid: str) -> bool:
        """Take one step; return whether the run has ended."""
        read: dict[str, object] = {}
        while True:
            step = self.database.write_sync(lambda s: self.advancer(below).step(s, uuid, read))
            if not step.unread:
                return step.ended
            for name, (place, asked) in step.unread.items():
                read[name] = below.read_model(place, asked)

    def run(self, uuid: str) -> tuple[RunRow, dict[str, RunJobRow]]:
        """Return a run and its jobs."""

        def work(session: Session) -> tuple[RunRow, dict[str, RunJobRow]]:
            row = session.get_one(RunRow, uuid)
            return row, {job.name: job for job in jobs_of(session, [uuid])[uuid]}

        return self.database.read_sync(work)
