"""What must be so after every crash."""

from __future__ import annotations

from random import Random

from nablahub.jobs.types import FINISHED, Job
from tests.crash import processes
from tests.crash.harness import SPAWNED, Stand
from tests.crash.work import Work
from tests.support.waiting import until

#: Folders of a job that nobody needs once it has ended and its outputs are versions.
SCRATCH = ("work", "home", "tmp", "outputs", "strings", "own", "root")


def done_once(stand: Stand, work: Work, chance: Random) -> None:
    """Fail unless the work is done, once, and nothing else is there."""
    run_done_once(work)
    deployment_stands_once(work)
    answer, right = work.predict(chance)
    assert answer == right
    nothing_left(stand, work)
    stand.live.check()


def run_done_once(work: Work) -> None:
    """Fail unless there is one run, and each thing of it is there once."""
    client, project = work.client, work.project.id
    assert [p.id for p in client.projects.list() if p.name == work.name] == [project]
    assert [w.id for w in client.workflows.list(project)] == [work.workflow.id]
    (run,) = client.workflows.runs(work.workflow.id)
    told = f"{run.state} ({run.reason}): {run.message}"
    assert (run.state, [job.state for job in run.jobs]) == ("Succeeded", ["Succeeded"] * 2), told
    names = {f"{work.name}-data", f"{work.name}-made"}
    datasets = {d.name: d for d in client.datasets.list() if d.name in names}
    assert set(datasets) == names
    assert len([d for d in client.datasets.list() if d.name in names]) == 2
    assert [v.id for v in client.datasets.versions(work.dataset.id)] == [work.version.id]
    (made,) = client.datasets.versions(datasets[f"{work.name}-made"].id)
    assert run.outputs["make.made"].ref == made.id
    assert (made.files, made.dvc_md5) == (work.version.files, work.version.dvc_md5)
    (model,) = client.models.list(project=project)
    assert [v.id for v in client.models.versions(model.id)] == [run.outputs["register.model"].ref]
    tasks = [job for job in client.jobs.list(project=project) if job.kind == "task"]
    assert [job.id for job in tasks] == [run.jobs[0].job_id]
    assert work.lines() == [tasks[0].id], "the job ran another time"


def deployment_stands_once(work: Work) -> None:
    """Fail unless there is one deployment, served by exactly as many processes as wanted."""
    client, project = work.client, work.project.id
    (found,) = client.deployments.list(project)
    told = f"{found.state} ({found.reason}): {found.message}"
    assert (found.id, found.state) == (work.deployment.id, "Running"), told
    assert found.model_ref == work.run.outputs["register.model"].ref
    assert (found.spec_version, found.ready_replicas) == (1, work.replicas), told
    servers = [job for job in client.jobs.list(project=project) if job.kind == "serve"]
    assert [job.state for job in servers] == ["Running"] * work.replicas
    running = processes.servers_of(work.name)
    assert len(running) == work.replicas, f"model servers: {running}"


def nothing_left(stand: Stand, work: Work) -> None:
    """Fail unless nothing of an ended job is alive, once the last of it had time to go."""
    for job in work.client.jobs.list(project=work.project.id):
        if job.state in FINISHED:
            nothing_left_of(stand, job)


def nothing_left_of(stand: Stand, job: Job) -> None:
    """Fail unless nothing of a job is alive."""
    state = stand.hub.state
    until(
        lambda: not processes.of_job(state, job.id),
        f"the last of the ended {job.name} ({job.id}) goes", seconds=10,
    )  # fmt: skip
    folder = state.jobs / job.id  # Itself gone when the job was forgotten.
    until(
        lambda: not any((folder / name).exists() for name in SCRATCH),
        f"the folders that only the running {job.name} ({job.id}) needed go", seconds=10,
    )  # fmt: skip


def clear_away(stand: Stand, work: Work) -> None:
    """Delete the deployment; whether its servers end is looked at after the next work.

    That they may drain takes seconds in which other things can be done, and killed.
    """
    work.clear()
    earlier, stand.cleared = stand.cleared, [work]
    for old in earlier:
        cleared_away(stand, old)


def cleared_away(stand: Stand, work: Work) -> None:
    """Fail unless everything of a work whose deployment was deleted ends."""
    until(lambda: not processes.servers_of(work.name), f"the model servers of {work.name} end")
    jobs = work.client.jobs
    until(
        lambda: all(job.state in FINISHED for job in jobs.list(project=work.project.id)),
        f"all jobs of {work.name} have ended",
    )
    nothing_left(stand, work)
    assert list(work.client.deployments.list(work.project.id)) == []


def spawned_once(stand: Stand) -> None:
    """Fail unless the server started meanwhile runs once, answers, and can be stopped."""
    answer = stand.hub.spawn(SPAWNED).until_answers()
    assert answer.status_code == 200, answer.text
    session = stand.session
    assert len(processes.notebooks_of(stand.hub_url, SPAWNED)) == 1
    assert len(processes.keepers_of(session, SPAWNED)) == 1
    stand.stop_server()
    until(
        lambda: (
            not processes.notebooks_of(stand.hub_url, SPAWNED)
            and not processes.keepers_of(session, SPAWNED)
        ),
        "the stopped server is gone",
    )
