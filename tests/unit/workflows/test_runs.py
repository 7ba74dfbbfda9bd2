"""Runs against slices that misbehave: what their jobs leave, and how they end."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.orm import Session

from nablahub.core.times import now
from nablahub.core.yamlspec import Document
from nablahub.workflows.advancing import Advanced
from nablahub.workflows.binding import Binder, Binding
from nablahub.workflows.spec import parse
from nablahub.workflows.store import RunRow
from nablahub.workflows.types import InputValue
from nablahub.workflows.work import JobView
from tests.unit.workflows.house import ALICE, PLACE, Below, House

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
