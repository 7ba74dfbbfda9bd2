"""Whatever the graph and whatever its jobs do, each run ends, and ends once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from nablahub.workflows.types import ENDED
from tests.unit.workflows.house import Below, House

ENDS = ["Succeeded", "Failed", "Error", "Canceled", "Stopped"]


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
