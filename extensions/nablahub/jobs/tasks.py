"""From a job's row to the runner's task: a pure function, compared whole by its test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Literal, NamedTuple

from nablahub.core.environments import resolve
from nablahub.core.instances import CATALOGUE, GIB, InstanceType
from nablahub.core.settings import Settings
from nablahub.jobs.runners.contract import (
    OUTPUTS,
    STORAGE,
    WORK,
    Mount,
    Placement,
    Probe,
    Resources,
    Scale,
    TaskName,
    TaskSpec,
    Toleration,
)
from nablahub.jobs.store import JobRow
from nablahub.jobs.types import JobSpec

TASK_GRACE = 10.0
SERVE_GRACE = 20.0


#: What a stored spec says beside what was submitted: the instance type with its numbers of that
#: time, and the groups of whoever submitted it.
INSTANCE, GROUPS = "instance", "groups"


class Tokens(NamedTuple):
    """What a job is given; both are empty when it is only looked at.

    Parameters
    ----------
    command : str
        For its command.
    delivery : str
        For what brings out its log and files; empty where nothing has to be brought.
    """

    command: str = ""
    delivery: str = ""


def spec_of(job: JobRow) -> JobSpec:
    """Return what was submitted, with its references pinned."""
    submitted = {name: v for name, v in job.spec.items() if name not in (INSTANCE, GROUPS)}
    return JobSpec.model_validate(submitted)


def instance_of(job: JobRow) -> InstanceType:
    """Return the instance type a job was given, with the numbers it had then."""
    saved = job.spec.get(INSTANCE)
    if saved is not None:
        return InstanceType.load(saved)
    # Stored before types were pinned, when there were none but the shipped ones.
    name = job.spec["instance_type"]
    return CATALOGUE.get(name) or InstanceType(name, 1, 1)


def time_limit(job: JobRow) -> float | None:
    """Return the seconds a job may run: its own limit, or that of its type when it is shorter."""
    longest, own = instance_of(job).max_seconds, job.spec.get("timeout_seconds")
    limits = [limit for limit in (longest, own) if limit is not None]
    return min(limits, default=None)


def task_of(
    job: JobRow,
    instance: InstanceType,
    settings: Settings,
    tokens: Tokens,
    storage: Literal["ro", "rw"] = "rw",
) -> TaskSpec:
    """Return the task that the runner shall start for a job.

    Parameters
    ----------
    job : JobRow
        The job.
    instance : InstanceType
        What it may use.
    settings : Settings
        Say where the service answers.
    tokens : Tokens
        The job's own.
    storage : str
        Whether it may write to the team's storage.
    """
    spec = spec_of(job)
    grace = SERVE_GRACE if spec.kind == "serve" else TASK_GRACE
    return TaskSpec(
        name=TaskName(job.id),
        kind=spec.kind,
        command=tuple(spec.command),
        # Images have names of their own beside the table's.
        environment=resolve(spec.environment) or spec.environment,
        tools=tuple(spec.tools),
        nodes=spec.nodes,
        delivery_token=tokens.delivery,
        env=spec.env | _own_variables(job, settings, tokens.command),
        mounts=tuple(_mounts(job, spec, storage)),
        files=spec.files,
        resources=Resources(
            cpus=instance.cpus, memory_bytes=int(instance.memory_gib * GIB), gpus=instance.gpus
        ),
        placement=Placement(
            node_selector=instance.node_selector,
            tolerations=tuple(Toleration(**asdict(each)) for each in instance.tolerations),
            runtime_class=instance.runtime_class,
            gpu_resource=instance.gpu_resource,
        ),
        timeout_seconds=time_limit(job),
        grace_seconds=grace if spec.grace_seconds is None else spec.grace_seconds,
        probe=Probe(**spec.probe.model_dump()),
        scale=Scale(**spec.scale.model_dump()),
        maker=spec.maker,
    )


class Tasks:
    """The runner's tasks of jobs that have not ended: made once each, since they are asked often.

    Parameters
    ----------
    settings : Settings
        Say where the service answers.
    full : callable
        Whether a team's storage is over its quota.
    """

    def __init__(self, settings: Settings, full: Callable[[str], bool]) -> None:
        self._settings, self._full = settings, full
        self._made: dict[str, TaskSpec] = {}
        self._tokens: dict[str, Tokens] = {}

    def of(self, job: JobRow) -> TaskSpec:
        """Return a job's task, with its tokens while it is being started."""
        task = self._made.get(job.id)
        if task is None:
            tokens = self._tokens.get(job.id, Tokens())
            storage: Literal["ro", "rw"] = "ro" if self._full(job.team_id) else "rw"
            task = task_of(job, instance_of(job), self._settings, tokens, storage)
            # What a server is asked to be changes while it runs.
            if not job.finished and job.kind != "serve":
                self._made[job.id] = task
        return task

    def has_tokens(self, job: JobRow) -> bool:
        """Whether a job's tokens are known; they are never stored, so a new life makes new ones."""
        return job.id in self._tokens

    def give(self, job: JobRow, tokens: Tokens) -> None:
        """Have a job's task hold tokens from now on."""
        self._tokens[job.id] = tokens
        self._made.pop(job.id, None)

    def started(self, job: JobRow) -> None:
        """Let go of the tokens of a job that has been started."""
        self._tokens.pop(job.id, None)

    def drop(self, job: JobRow) -> None:
        """Let go of all of a job that has ended."""
        self._tokens.pop(job.id, None)
        self._made.pop(job.id, None)


def _own_variables(job: JobRow, settings: Settings, token: str) -> dict[str, str]:
    # Straight to the service and not through the hub's proxy: a job needs neither to be up.
    return {
        "NABLAHUB_URL": settings.jobs_url,
        "NABLAHUB_TOKEN": token,
        "NABLAHUB_PROJECT": job.project_id,
        "NABLAHUB_JOB": job.id,
        "PROJECT_ID": job.project_id,
        "PAPERSPACE_API_KEY": token,
    }


def _mounts(job: JobRow, spec: JobSpec, storage: Literal["ro", "rw"]) -> list[Mount]:
    mounts = [Mount(path=STORAGE, kind="storage", ref=job.team_id, mode=storage)]
    if job.workspace_id is not None:
        mounts.append(Mount(path=WORK, kind="workspace", ref=job.workspace_id, mode="rw"))
    for given in spec.inputs:
        mode: Literal["ro", "rw"] = "ro" if given.read_only else "rw"
        path = f"/{given.at}/{given.name}"
        mounts.append(Mount(path=path, kind=given.kind, ref=given.ref, mode=mode))
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
