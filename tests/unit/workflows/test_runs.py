"""Runs against slices that misbehave: whatever the jobs do, each run ends, and ends once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert
from sqlalchemy.orm import Session

from nablahub.core.database import Base, Database
from nablahub.core.errors import Invalid, NotFound
from nablahub.core.ids import new_uuid
from nablahub.core.permissions import Principal
from nablahub.core.times import now
from nablahub.core.yamlspec import Document
from nablahub.projects.store import ProjectRow
from nablahub.teams.store import TeamRow
from nablahub.workflows.advancing import Advanced, Advancer
from nablahub.workflows.binding import Binder, Binding
from nablahub.workflows.spec import parse
from nablahub.workflows.store import RunJobRow, RunRow, WorkflowRow, jobs_of
from nablahub.workflows.types import ENDED, InputValue
from nablahub.workflows.work import JobRequest, JobView, Place

PLACE = Place("run", "team", "project", "alice")
ALICE = Principal("alice", team_ids=frozenset({"team"}))
ENDS = ["Succeeded", "Failed", "Error", "Canceled", "Stopped"]


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

    def create_model(
        self, session: Session, place: Place, *, name: str, type_: str, version: str, key: str
    ) -> str:
        self.models[key] = version
        return f"mo-{name}:{key[-7:]}"

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
        return self.database.write_sync(lambda s: self.advancer(below).step(s, uuid).ended)

    def run(self, uuid: str) -> tuple[RunRow, dict[str, RunJobRow]]:
        """Return a run and its jobs."""

        def work(session: Session) -> tuple[RunRow, dict[str, RunJobRow]]:
            row = session.get_one(RunRow, uuid)
            return row, {job.name: job for job in jobs_of(session, [uuid])[uuid]}

        return self.database.read_sync(work)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    database = Database(Path(tmp_path_factory.mktemp("db")) / "test.sqlite")
    Base.metadata.create_all(database.engine)

    def fill(session: Session) -> None:
        at = now()
        for table, fields in ((TeamRow, {}), (ProjectRow, {"team_id": "team"})):
            columns = {
                c.name: c.type.python_type for c in table.__table__.columns if not c.nullable
            }
            values = {
                name: at if name.endswith("_at") else kind() for name, kind in columns.items()
            }
            values |= {"id": "team" if table is TeamRow else "project", **fields}
            session.execute(insert(table).values(**values))

    database.write_sync(fill)
    yield House(database)
    database.close()


SPEC: dict[str, Any] = {
    "inputs": {"data": {"type": "dataset"}, "epochs": {"type": "string", "with": {"value": "3"}}},
    "jobs": {
        "prepare": {
            "uses": "script@v1",
            "with": {"script": "true"},
            "inputs": {"data": "workflow.inputs.data"},
            "outputs": {
                "split": {"type": "dataset", "with": {"ref": "digits-split"}},
                "scratch": {"type": "volume"},
                "rows": {"type": "string"},
            },
        },
        "train": {
            "uses": "notebook@v1",
            "needs": ["prepare"],
            "with": {"notebook": "/storage/t.ipynb", "parameters": {"n": "workflow.inputs.epochs"}},
            "inputs": {
                "split": "prepare.outputs.split",
                "scratch": "prepare.outputs.scratch",
                "rows": "prepare.outputs.rows",
            },
            "outputs": {"model": {"type": "dataset", "with": {"id": "digits-model"}}},
        },
        "register": {
            "uses": "create-model@v1",
            "needs": ["train"],
            "with": {"name": "digits", "type": "ONNX"},
            "inputs": {"model": "train.outputs.model"},
            "outputs": {"model-id": {"type": "string"}},
        },
        "tell": {
            "uses": "script@v1",
            "needs": ["register"],
            "with": {"script": "cat /inputs/id"},
            "inputs": {"id": "register.outputs.model-id"},
        },
    },
}


def test_what_a_job_leaves_reaches_those_that_need_it(house: House) -> None:
    below = Below({"digits": "ds1:aaaaaaa"})
    uuid = house.start(below, SPEC, data="digits")
    assert not house.step(below, uuid)
    first = below.jobs[f"{uuid}/prepare"]
    assert [(m.name, m.kind, m.ref) for m in first.inputs] == [("data", "dataset", "ds1:aaaaaaa")]
    assert [(m.name, m.kind, m.ref) for m in first.outputs] == [
        ("split", "dataset", "ds-digits-split"),
        ("scratch", "volume", f"{uuid}/prepare.scratch"),
        ("rows", "string", ""),
    ]
    below.end(f"{uuid}/prepare", "Succeeded")
    house.step(below, uuid)
    train = below.jobs[f"{uuid}/train"]
    assert [(m.name, m.kind, m.ref) for m in train.inputs] == [
        ("split", "dataset", "ds-digits-split:v"),
        ("scratch", "volume", f"{uuid}/prepare.scratch"),
        ("rows", "string", "text of rows"),
    ]
    assert train.files[".nablahub/parameters.json"] == '{"n": 3}'
    assert train.tools == ("runner",)
    below.end(f"{uuid}/train", "Succeeded")
    house.step(below, uuid)
    assert below.models == {f"{uuid}/register": "ds-digits-model:v"}
    (tell,) = below.jobs[f"{uuid}/tell"].inputs
    assert (tell.kind, tell.ref) == ("string", "mo-digits:egister")
    below.end(f"{uuid}/tell", "Succeeded")
    assert house.step(below, uuid)
    run, jobs = house.run(uuid)
    assert (run.state, run.message) == ("Succeeded", "")
    assert run.outputs["register.model"] == {"kind": "model", "ref": "mo-digits:egister"}
    assert run.outputs["train.model"] == {"kind": "dataset", "ref": "ds-digits-model:v"}
    assert "prepare.scratch" not in run.outputs
    assert jobs["train"].notebook == f"/jobs/{uuid}/train/artifacts/t.ipynb"


def test_a_job_that_left_nothing_ends_the_run_in_words(house: House) -> None:
    below = Below({"digits": "ds1:aaaaaaa"})
    uuid = house.start(below, SPEC, data="digits")
    house.step(below, uuid)
    below.views[f"{uuid}/prepare"] = JobView("Succeeded", started_at=now(), finished_at=now())
    assert house.step(below, uuid)
    run, jobs = house.run(uuid)
    assert run.state == "Error"
    assert run.message == (
        "Job 'train' could not be run: 'prepare' ended well and left nothing at /outputs/split. "
        "Let it write that output."
    )
    assert jobs["register"].state == "Skipped"


def test_a_run_out_of_time_fails_and_says_so(house: House) -> None:
    below = Below()
    jobs = {"a": {"uses": "script@v1", "with": {"script": "sleep 100"}}}
    uuid = house.start(below, {"timeout": 1, "jobs": jobs})
    again = house.database.write_sync(lambda s: house.advancer(below).step(s, uuid).again)
    assert again is not None
    assert 0 < again <= 1

    def age(session: Session) -> None:
        row = session.get_one(RunRow, uuid)
        row.created_at = row.created_at.replace(year=2020)

    house.database.write_sync(age)
    house.step(below, uuid)
    assert house.step(below, uuid)
    run, _ = house.run(uuid)
    assert (run.state, run.reason) == ("Failed", "timeout")
    assert run.message == "The run took longer than its 1 s."


@pytest.mark.parametrize(
    ("given_inputs", "pointer", "message"),
    [
        ({}, "/inputs/data", "The input 'data' (a dataset) was not given, and has no default."),
        ({"data": "none"}, "/inputs/data", "There is no dataset 'none'."),
        ({"data": "digits", "epoch": "3"}, "/inputs/epoch", "The workflow has no input 'epoch'."),
    ],
)
def test_inputs_that_do_not_fit_are_named(
    house: House, given_inputs: dict[str, str], pointer: str, message: str
) -> None:
    source = Document(SPEC)
    spec, _ = parse(source)
    assert spec is not None
    values = {k: InputValue(ref=v) for k, v in given_inputs.items()}
    below = Below({"digits": "ds1:aaaaaaa"})

    def bind(session: Session) -> Binding:
        return Binder(session, ALICE, PLACE, below, source, spec).bind(values)

    (fault,) = house.database.read_sync(bind).faults
    assert (fault.pointer, fault.message) == (pointer, message)
    assert fault.hint


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    names = [f"j{i}" for i in range(draw(st.integers(1, 7)))]
    jobs: dict[str, Any] = {}
    for index, name in enumerate(names):
        needs = draw(st.lists(st.sampled_from(names[:index]), unique=True)) if index else []
        jobs[name] = {
            "uses": "script@v1",
            "with": {"script": "true"},
            "needs": needs,
            "inputs": {f"of-{other}": f"{other}.outputs.left" for other in needs},
            "outputs": {"left": {"type": draw(st.sampled_from(["string", "volume"]))}},
        }
    return {"jobs": dict(draw(st.permutations(sorted(jobs.items()))))}


class Crash(Exception):
    """Stands for a kill in the midst of a step."""


@given(specs(), st.data())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_graph_any_ends_any_crashes(
    house: House, spec: dict[str, Any], data: st.DataObject
) -> None:
    below = Below(
        refused=set(data.draw(st.lists(st.sampled_from(sorted(spec["jobs"])), max_size=1)))
    )
    uuid = house.start(below, spec)
    house.told.clear()
    crashes = data.draw(st.sets(st.integers(0, 9), max_size=4))
    for number in range(40):
        kept = replace(below, jobs=dict(below.jobs), views=dict(below.views))
        if number in crashes:
            # A kill before the commit takes back all that the step did.
            with pytest.raises(Crash):
                _crash(house, below, uuid)
            below = kept
            continue
        if house.step(below, uuid):
            break
        running = [key for key, view in below.views.items() if view.state not in ENDED]
        assert running, "nothing runs, and the run has not ended"
        below.end(data.draw(st.sampled_from(running)), data.draw(st.sampled_from(ENDS)))
    run, jobs = house.run(uuid)
    assert run.state in ENDED
    assert {job.state for job in jobs.values()} <= ENDED
    assert below.submitted == len(below.jobs)
    assert (run.state == "Succeeded") == all(j.state == "Succeeded" for j in jobs.values())
    if run.state != "Succeeded":
        assert run.message
    for name, job in jobs.items():
        if any(jobs[other].state != "Succeeded" for other in spec["jobs"][name]["needs"]):
            assert job.state == "Skipped"
    # The end is the end: another look changes nothing and tells nobody.
    count = len(house.told)
    before = (run.state, run.message, run.finished_at)
    assert house.step(below, uuid)
    run, _ = house.run(uuid)
    assert ((run.state, run.message, run.finished_at), len(house.told)) == (before, count)


def _crash(house: House, below: Below, uuid: str) -> None:
    def work(session: Session) -> None:
        house.advancer(below).step(session, uuid)
        raise Crash

    house.database.write_sync(work)


def test_a_wide_run_is_started_and_ended_in_steps(house: House) -> None:
    jobs = {f"j{n}": {"uses": "script@v1", "with": {"script": "true"}} for n in range(100)}
    below = Below()
    uuid = house.start(below, {"jobs": jobs})

    def step() -> Advanced:
        return house.database.write_sync(lambda s: house.advancer(below).step(s, uuid))

    seen = [(step().again, below.submitted) for _ in range(3)]
    assert seen == [(0.0, 40), (0.0, 80), (None, 100)]

    def cancel(session: Session) -> None:
        session.get_one(RunRow, uuid).cancel_asked = True

    house.database.write_sync(cancel)
    ended = 0
    for left in (60, 20, 0):
        ended += step().ended
        assert sum(view.state == "Pending" for view in below.views.values()) == left
    assert step().ended
    assert house.run(uuid)[0].state == "Canceled"
