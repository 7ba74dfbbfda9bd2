"""What becomes of jobs when the service, the launcher, a job's parent or the machine is gone.

A kill between two steps leaves a row in an older state than the job: these tests put rows back by
hand, so that each such moment is met, and not only those a random kill happens to find.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal

from sqlalchemy.orm import Session

from nablahub.core.permissions import Principal
from nablahub.core.state import StateDir
from nablahub.jobs.runners import folder as files
from nablahub.jobs.runners.process import launcher, procfs
from nablahub.jobs.runners.process.runner import ProcessRunner
from nablahub.jobs.runners.process.shutdown import end_all
from nablahub.jobs.service import JobService
from nablahub.jobs.store import JobRow
from nablahub.jobs.types import Job, JobSpec, Owner
from tests.contract.places import processes_with
from tests.support import waiting
from tests.unit.jobs.conftest import Life, until

ONE_LINE = "echo run >> /storage/runs; "
WAIT = "until [ -e /storage/go ]; do sleep 0.02; done"


def runs(life: Life) -> str:
    return (life.storage() / "runs").read_text()


def go(life: Life) -> None:
    (life.storage() / "go").touch()


def put_back(life: Life, job: Job, **fields: object) -> None:
    """Write a row as an earlier moment had it."""

    def work(session: Session) -> None:
        row = session.get_one(JobRow, job.id)
        for name, value in fields.items():
            setattr(row, name, value)

    life.rows(work)


def parent_of(life: Life, job: Job) -> int:
    mark = files.read(life.root / "jobs" / job.id, files.STARTED)
    assert mark is not None
    return int(mark["pid"])


def running(life: Life, script: str = ONE_LINE + "echo on; " + WAIT) -> Job:
    """A job that has begun and waits for `go`."""
    job = life.jobs.submit("sh", "-c", script)
    with contextlib.closing(life.jobs.api.follow(job.id)) as log:
        assert "on" in next(iter(log))
    return job


def test_a_job_goes_on_while_the_service_is_away(life: Life) -> None:
    job = running(life)
    storage = life.storage()
    life.service.stop()
    (storage / "go").touch()
    files.wait_lock(life.root / "jobs" / job.id)
    life.begin()
    assert life.jobs.api.wait(job.id).state == "Succeeded"
    assert runs(life) == "run\n"


def test_a_job_that_still_runs_is_found_again(life: Life) -> None:
    job = running(life)
    life.service.stop()
    life.begin()
    until(life.jobs, job.id, lambda j: bool(j["state"] == "Running"))
    go(life)
    assert life.jobs.api.wait(job.id).state == "Succeeded"
    assert life.jobs.api.log(job.id) == "on\n"
    assert runs(life) == "run\n"


def test_killed_between_the_start_and_the_row_that_tells_of_it(life: Life) -> None:
    job = running(life)
    life.service.stop()
    put_back(life, job, state="Provisioned", started_at=None)
    life.begin()
    go(life)
    assert life.jobs.api.wait(job.id).state == "Succeeded"
    assert runs(life) == "run\n"


def test_killed_between_the_decision_and_the_start(life: Life) -> None:
    blocker = running(life)
    job = life.jobs.submit("sh", "-c", ONE_LINE)
    storage = life.storage()
    life.service.stop()
    put_back(life, job, state="Provisioned", boot=procfs.boot_id())
    (storage / "go").touch()
    life.begin()
    assert life.jobs.api.wait(job.id).state == "Succeeded"
    assert life.jobs.api.wait(blocker.id).state == "Succeeded"
    assert runs(life) == "run\nrun\n"


def test_killed_between_the_end_and_the_row_that_tells_of_it(life: Life) -> None:
    job = life.jobs.shell(ONE_LINE + "exit 5")
    life.service.stop()
    put_back(life, job, state="Running", exit_code=None, finished_at=None, reason=None)
    life.begin()
    ended = life.jobs.api.wait(job.id)
    assert (ended.state, ended.exit_code) == ("Failed", 5)
    assert runs(life) == "run\n"


def test_killed_between_the_commit_of_an_output_and_the_row(life: Life) -> None:
    spec = {"outputs": [{"name": "d", "kind": "dataset", "ref": "made"}]}
    job = life.jobs.submit("sh", "-c", "echo 1 > /outputs/d/a; echo on; " + WAIT, **spec)
    with contextlib.closing(life.jobs.api.follow(job.id)) as log:
        next(iter(log))
    storage = life.storage()
    copy = life.root / "copy"
    life.service.stop()
    (storage / "go").touch()
    files.wait_lock(life.root / "jobs" / job.id)
    outputs = life.root / "jobs" / job.id / "outputs"
    outputs.rename(copy)
    outputs.symlink_to(copy)  # So that tidying leaves the content.
    life.begin()
    first = life.jobs.api.wait(job.id)
    life.service.stop()
    outputs.unlink(missing_ok=True)  # Tidying may or may not have come to it.
    outputs.symlink_to(copy)
    put_back(life, job, state="Running", outputs={}, finished_at=None)
    life.begin()
    again = life.jobs.api.wait(job.id)
    assert again.outputs == first.outputs
    [dataset] = life.transport().pages("/datasets", name="made")
    assert len(list(life.transport().pages(f"/datasets/{dataset['id']}/versions"))) == 1


def test_the_machine_was_restarted_before_it_was_known_to_have_begun(life: Life) -> None:
    blocker = running(life)
    job = life.jobs.submit("sh", "-c", ONE_LINE)
    life.service.stop()
    put_back(life, job, state="Provisioned", boot="another-boot")
    life.begin()
    ended = life.jobs.api.wait(job.id)
    assert (ended.state, ended.reason) == ("Error", "lost")
    assert "restarted" in ended.message
    go(life)
    life.jobs.api.wait(blocker.id)
    assert runs(life) == "run\n"


def test_killing_the_parent_ends_the_job_as_lost_and_starts_nothing_again(life: Life) -> None:
    sleep = f"sleep 61.{secrets.randbelow(10**9)}"
    job = running(life, ONE_LINE + f"echo on; {sleep} & {sleep}")
    os.kill(parent_of(life, job), signal.SIGKILL)
    ended = life.jobs.api.wait(job.id)
    assert (ended.state, ended.reason, ended.exit_code) == ("Error", "lost", None)
    assert ended.message == (
        "The process that ran it was killed, and what it was doing ended with it."
    )
    assert processes_with(sleep) == []
    assert runs(life) == "run\n"


def test_killing_the_parent_while_the_service_is_away(life: Life) -> None:
    job = running(life, ONE_LINE + "echo on; sleep 62.5")
    life.service.stop()
    os.kill(parent_of(life, job), signal.SIGKILL)
    life.begin()
    assert life.jobs.api.wait(job.id).reason == "lost"
    assert runs(life) == "run\n"


def test_cancelled_while_nothing_was_there_to_do_it(life: Life) -> None:
    job = running(life, "echo on; sleep 60")
    life.service.stop()
    put_back(life, job, wanted="end", wanted_message="away")
    life.begin()
    assert life.jobs.api.wait(job.id).state == "Canceled"


def test_going_down_ends_everything_and_says_so(life: Life) -> None:
    sleep = f"sleep 63.{secrets.randbelow(10**9)}"
    job = running(life, f"trap 'echo bye; exit 0' TERM; echo on; {sleep} & wait")
    life.service.stop()
    assert end_all(StateDir(life.root)) == [job.id]
    assert processes_with(sleep) == []
    assert processes_with(str(life.root / "run")) == []
    life.begin()
    ended = life.jobs.api.wait(job.id)
    assert (ended.state, ended.reason) == ("Stopped", "shutdown")
    assert ended.message == "NablaHub was shut down."
    assert life.jobs.api.log(job.id) == "on\nbye\n"


def test_one_key_makes_one_job_and_wakes_its_owner(life: Life) -> None:
    context = life.service.service.context
    woken: list[str] = []

    async def step(item: str) -> float | None:
        woken.append(item)
        return None

    life.service.run(lambda: context.reconciler.register("thing", step))
    alice = Principal("alice", team_ids=frozenset({life.jobs.shell("true").team_id}))
    spec = JobSpec.model_validate({"project_id": life.project, "command": ["true"]})

    def submit(session: Session) -> str:
        service = context.get(JobService)
        owner = Owner(kind="thing", id="t1")
        return service.submit(session, alice, spec, owner=owner, name_key="thing/t1/a").id

    loop = life.service.run(asyncio.get_running_loop)
    first, second = (context.database.write_sync(submit, loop) for _ in range(2))
    assert first == second
    assert life.jobs.api.wait(first).state == "Succeeded"
    assert set(woken) == {"t1"}


def test_what_a_killed_service_left_untidied_is_tidied_at_the_next_start(life: Life) -> None:
    job = life.jobs.shell("echo 1")
    life.service.stop()
    left = life.root / "jobs" / job.id / "work" / "deep"
    left.mkdir(parents=True, exist_ok=True)
    left.chmod(0)
    life.begin()
    life.service.stop()  # Waits for what it began.
    assert not left.parent.exists()
    assert (life.root / "jobs" / job.id / "log").read_text() == "1\n"
    life.begin()


def test_what_a_deleted_job_left_goes_at_the_next_start(life: Life) -> None:
    job = life.jobs.shell("echo 1")
    life.jobs.api.delete(job.id)
    life.service.stop()
    folder = life.root / "jobs" / job.id
    folder.mkdir(exist_ok=True)  # As if it had ended before it could remove it.
    life.begin()
    life.service.stop()
    assert not folder.exists()
    life.begin()


def test_a_launcher_of_another_release_makes_way(life: Life) -> None:
    job = running(life)
    old = int((life.root / "run" / launcher.PID).read_text())
    service = life.service.service.context.get(JobService)
    assert isinstance(service.runner, ProcessRunner)
    asked = service.runner.client.ask({"code": "of a newer release", "folder": "/nonsuch"})
    loop = life.service.run(asyncio.get_running_loop)
    answer, line = asyncio.run_coroutine_threadsafe(asked, loop).result(20)
    line.close()
    assert answer == {"stale": True}
    go(life)
    assert life.jobs.api.wait(job.id).state == "Succeeded"
    assert life.jobs.shell("echo new").state == "Succeeded"
    assert int((life.root / "run" / launcher.PID).read_text()) != old


def test_a_job_that_cannot_be_started_can_be_cancelled(life: Life) -> None:
    blocker = running(life)
    job = life.jobs.submit("sh", "-c", ONE_LINE)
    life.service.stop()
    end_all(StateDir(life.root))
    (life.root / "run" / launcher.SOCKET).unlink()
    (life.root / "run" / launcher.SOCKET / "in the way").mkdir(parents=True)
    put_back(life, job, state="Provisioned", boot=procfs.boot_id())
    life.begin()
    life.jobs.api.cancel(job.id)
    assert life.jobs.api.wait(job.id).state == "Canceled"
    assert life.jobs.api.wait(blocker.id).state == "Stopped"
    shutil.rmtree(life.root / "run" / launcher.SOCKET)
    assert life.jobs.shell("echo again").state == "Succeeded"
    assert runs(life) == "run\n"


def test_a_launcher_whose_socket_is_gone_is_replaced(life: Life) -> None:
    job = running(life)
    (life.root / "run" / launcher.SOCKET).unlink()
    second = life.jobs.submit("true", kind="serve")  # Servers do not queue for processors.
    assert life.jobs.api.wait(second.id).state == "Succeeded"
    go(life)
    assert life.jobs.api.wait(job.id).state == "Succeeded"
    assert runs(life) == "run\n"


def test_an_output_nested_too_deep_fails_without_telling_paths(life: Life) -> None:
    job = life.jobs.shell(
        "cd /outputs/d; for i in $(seq 2000); do mkdir d && cd d; done; echo 1 > f",
        outputs=[{"name": "d", "kind": "dataset", "ref": "deep"}],
    )
    assert (job.state, job.reason) == ("Failed", "output")
    assert str(life.root) not in job.message
    left = life.root / "jobs" / job.id / "outputs"
    waiting.until(lambda: not left.exists(), "what it left is removed")
