"""From a job's row to the runner's task: a pure function, compared whole by its test."""

from __future__ import annotations

from nablahub.core.environments import resolve
from nablahub.core.instances import GIB, InstanceType
from nablahub.core.settings import Settings
from nablahub.jobs.runners.contract import (
    INPUTS,
    OUTPUTS,
    STORAGE,
    Mount,
    Probe,
    Resources,
    TaskName,
    TaskSpec,
)
from nablahub.jobs.store import JobRow
from nablahub.jobs.types import JobSpec

TASK_GRACE = 10.0
SERVE_GRACE = 20.0


def spec_of(job: JobRow) -> JobSpec:
    """Return what was submitted, with its references pinned."""
    return JobSpec.model_validate(job.spec)


def task_of(job: JobRow, instance: InstanceType, settings: Settings, token: str) -> TaskSpec:
    """Return the task that the runner shall start for a job.

    Parameters
    ----------
    job : JobRow
        The job.
    instance : InstanceType
        What it may use.
    settings : Settings
        Say where the service answers.
    token : str
        The job's own token; empty when the task is only looked at.
    """
    spec = spec_of(job)
    grace = SERVE_GRACE if spec.kind == "serve" else TASK_GRACE
    return TaskSpec(
        name=TaskName(job.id),
        kind=spec.kind,
        command=tuple(spec.command),
        environment=resolve(spec.environment),
        tools=tuple(spec.tools),
        env=spec.env | _own_variables(job, settings, token),
        mounts=tuple(_mounts(job, spec)),
        files=spec.files,
        resources=Resources(
            cpus=instance.cpus, memory_bytes=int(instance.memory_gib * GIB), gpus=instance.gpus
        ),
        timeout_seconds=spec.timeout_seconds,
        grace_seconds=grace if spec.grace_seconds is None else spec.grace_seconds,
        probe=Probe(**spec.probe.model_dump()),
    )


def _own_variables(job: JobRow, settings: Settings, token: str) -> dict[str, str]:
    # Straight to the service and not through the hub's proxy: a job needs neither to be up.
    port = settings.service_port
    prefix = settings.service_prefix.rstrip("/")
    return {
        "NABLAHUB_URL": f"http://{settings.service_host}:{port}{prefix}",
        "NABLAHUB_TOKEN": token,
        "NABLAHUB_PROJECT": job.project_id,
        "NABLAHUB_JOB": job.id,
        "PROJECT_ID": job.project_id,
        "PAPERSPACE_API_KEY": token,
    }


def _mounts(job: JobRow, spec: JobSpec) -> list[Mount]:
    mounts = [Mount(path=STORAGE, kind="storage", ref=job.team_id, mode="rw")]
    mounts += [Mount(path=f"{INPUTS}/{i.name}", kind=i.kind, ref=i.ref) for i in spec.inputs]
    if spec.kind == "task":
        # One folder for all of them, in which strings are files; volumes are shown on top of it.
        mounts.append(Mount(path=OUTPUTS, kind="output", mode="rw"))
    for output in spec.outputs:
        path = f"{OUTPUTS}/{output.name}"
        if output.kind == "volume":
            mounts.append(Mount(path=path, kind="volume", ref=output.ref, mode="rw"))
        elif output.kind == "dataset":
            mounts.append(Mount(path=path, kind="output", ref=output.name, mode="rw"))
    return mounts
