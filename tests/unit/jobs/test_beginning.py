"""Jobs that begin with the transaction that stores them, and the room they take by that."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy.orm import Session

from nablahub.core.instances import CATALOGUE
from nablahub.core.permissions import READ, WRITE, Principal
from nablahub.jobs.service import JobService
from nablahub.jobs.types import JobSpec
from tests.unit.jobs.conftest import Jobs


def test_a_job_with_room_is_ready_when_it_is_stored_and_what_is_too_much_waits(jobs: Jobs) -> None:
    gate = "until [ -e /storage/go ]; do sleep 0.02; done"
    room = jobs.service.service.context.get(JobService).machine.cpus // CATALOGUE["C3"].cpus
    begun = [jobs.submit("sh", "-c", gate, instance_type="C3") for _ in range(room)]
    states = [job.state for job in begun]
    last = jobs.submit("true", instance_type="C3")
    (first, *others) = begun
    jobs.api.cancel(first.id)
    assert jobs.api.wait(last.id).state == "Succeeded"
    for job in others:
        jobs.api.cancel(job.id)
    assert [jobs.api.wait(job.id).state for job in begun] == ["Canceled"] * len(begun)
    assert states[0] == "Provisioned"
    assert last.state == "Pending"


def test_what_is_rolled_back_takes_no_room(jobs: Jobs) -> None:
    context = jobs.service.service.context
    service = context.get(JobService)
    team = jobs.service.transport().get(f"/projects/{jobs.project}")["team_id"]
    alice = Principal("alice", "user", frozenset({team}), frozenset({READ, WRITE}))
    states = []

    def fail(session: Session) -> None:
        spec = JobSpec(project_id=jobs.project, command=["true"])
        states.append(service.submit(session, alice, spec).state)
        raise RuntimeError("after all not")

    loop = jobs.service.run(asyncio.get_running_loop)
    for _ in range(service.machine.cpus + 1):
        with pytest.raises(RuntimeError, match="after all not"):
            asyncio.run_coroutine_threadsafe(context.database.write(fail), loop).result(20)
        jobs.service.run(lambda: None)  # By then the loop was told.
    assert states == ["Provisioned"] * (service.machine.cpus + 1)
