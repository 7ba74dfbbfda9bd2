"""Wire types of jobs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, Field, StringConstraints, model_validator

from nablahub.core.paging import PageQuery
from nablahub.core.wire import Body, Resource, Revision, Timestamp
from nablahub.jobs.workspaces.types import Digest

State = Literal[
    "Pending", "Provisioned", "Running", "Succeeded", "Failed", "Error", "Canceled", "Skipped",
    "Stopped",
]  # fmt: skip
#: States that never change again.
FINISHED: frozenset[State] = frozenset(
    {"Succeeded", "Failed", "Error", "Canceled", "Skipped", "Stopped"}
)

Kind = Literal["task", "serve"]
PartName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$"),
    Field(description="The last part of its path, such as `data` in /inputs/data"),
]
#: No log is that long, and every file can be read at that place.
LONGEST_LOG = 2**40
MOST_NODES = 512
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("It may not hold the character NUL, which ends a text for the kernel")
    return text


#: What goes to the kernel as a command, variable or file name.
KernelText = Annotated[str, AfterValidator(_without_nul)]


class Input(Body):
    """Something the job sees at `/inputs/<name>`, read-only; a bucket may be writable."""

    name: PartName
    kind: Literal["dataset", "model", "volume", "string", "keys", "bucket", "public"]
    ref: str = Field(
        max_length=65_536,
        description="Dataset or model (`name`, `id`, `id:version`); volume of the run; the text; "
        "`<storage provider>/<folder>` of a bucket",
    )
    read_only: bool = Field(
        default=True, description="Of a bucket; false: what the job writes goes into it"
    )
    at: Literal["inputs", "datasets"] = Field(
        default="inputs", description="Of a bucket: seen at `/inputs/<name>` or `/datasets/<name>`"
    )

    @model_validator(mode="after")
    def _only_buckets(self) -> Input:
        if self.kind != "bucket" and (not self.read_only or self.at != "inputs"):
            raise ValueError("only a bucket may be writable, or lie elsewhere than in /inputs")
        return self

    @property
    def mount_name(self) -> str:
        """By which a bucket is known among those of its job."""
        return f"{self.at}.{self.name}"


class Output(Body):
    """Something the job leaves at `/outputs/<name>`: a folder, or a file for a `string`."""

    name: PartName
    kind: Literal["dataset", "volume", "string"]
    ref: str = Field(
        default="",
        max_length=1024,
        description="Dataset that gets a new version (`name` or `id`); volume of the run",
    )


class Probe(Body):
    """How a server is asked whether it takes requests: GET `path` answers below 400."""

    path: str = Field(default="/", pattern=r"^/\S*$")
    period: float = Field(default=5.0, gt=0, le=300, description="Seconds between questions")
    timeout: float = Field(default=2.0, gt=0, le=60, description="Seconds to wait for an answer")
    live: str | None = Field(
        default=None,
        pattern=r"^/\S*$",
        description="Answered by every server that doesn't hang; where it isn't, it is replaced",
    )
    own_port: bool = Field(
        default=False, description="Ask at the port in `HEALTH_PORT`, on a cluster"
    )


class Scale(Body):
    """How many servers there are behind one address, on a cluster."""

    least: int = Field(default=1, ge=1, le=1000)
    most: int = Field(default=1, ge=1, le=1000)
    cpu: int | None = Field(default=None, ge=1, le=100, description="Percent: above it, more")
    memory: int | None = Field(default=None, ge=1, le=100, description="Percent: above it, more")


class JobSpec(Body):
    """One command to run in one environment."""

    project_id: str = Field(validation_alias=AliasChoices("project", "project_id"))
    name: str = Field(default="job", min_length=1, max_length=255)
    kind: Kind = "task"
    command: list[KernelText] = Field(min_length=1, max_length=1000)
    environment: str = Field(default="default", max_length=255)
    tools: list[str] = Field(default=[], max_length=4, description="More environments, for tools")
    instance_type: str = Field(default="C4", max_length=255)
    nodes: int = Field(
        default=1, ge=1, le=MOST_NODES,
        description="How many machines run the command at once, each of the instance type",
    )  # fmt: skip
    env: dict[VariableName, KernelText] = Field(default={}, max_length=1000)
    inputs: list[Input] = Field(default=[], max_length=100)
    outputs: list[Output] = Field(default=[], max_length=100)
    files: dict[KernelText, KernelText] = Field(
        default={}, max_length=1000, description="Laid into /work: relative path → text"
    )
    workspace: Digest | None = Field(
        default=None, description="Digest of an uploaded folder: /work is a copy of it"
    )
    timeout_seconds: float | None = Field(default=None, gt=0, le=366 * 86400)
    grace_seconds: float | None = Field(default=None, ge=0, le=3600)
    probe: Probe = Probe()
    scale: Scale = Scale()
    maker: Literal["deployment", "seldon"] = Field(
        default="deployment", description="Of a server on a cluster: who makes its pods"
    )


class JobCreate(JobSpec):
    """What makes a job."""


class OutputValue(Resource):
    """What a finished job left."""

    kind: Literal["dataset", "volume", "string"]
    ref: str | None = Field(default=None, description="Id of the new version, or of the volume")
    value: str | None = Field(default=None, description="Of a string")


class Owner(Resource):
    """What a job is part of, such as a workflow's run."""

    kind: str
    id: str


class Job(Resource):
    """A job."""

    id: str
    name: str
    kind: Kind
    team_id: str
    project_id: str
    owner: Owner | None
    command: list[str]
    environment: str
    instance_type: str
    nodes: int
    inputs: list[Input]
    workspace: Digest | None = Field(default=None, description="The folder it began with, if any")
    state: State
    reason: str | None = Field(description="Short code: code, oom, timeout, cancelled, lost, …")
    message: str
    exit_code: int | None
    ready: bool = Field(description="Of a server: whether it takes requests")
    address: str | None = Field(description="Of a server: where it answers on its machine")
    outputs: dict[str, OutputValue]
    created_by: str
    created_at: Timestamp
    updated_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    revision: Revision


class JobQuery(PageQuery):
    """Filters of the list."""

    project: str | None = Field(default=None, description="Only of this project")
    state: State | None = Field(default=None, description="Only in this state")


class LogQuery(Body):
    """Which part of a log, and whether to wait for more."""

    offset: int = Field(
        default=0, ge=0, le=LONGEST_LOG, description="Bytes to leave out at the beginning"
    )
    follow: bool = Field(default=False, description="As server-sent events, until the job's end")


class Artifact(Resource):
    """A file in a job's `/artifacts`."""

    path: str
    size: int


class Artifacts(Resource):
    """The files in a job's `/artifacts`."""

    items: list[Artifact]
    next: str | None = None


class ArtifactsQuery(Body):
    """Which files of a job's `/artifacts` to list."""

    limit: int = Field(default=10_000, ge=1, le=10_000, description="Items on a page")
    cursor: str | None = Field(default=None, description="`next` of the page before")


class ArtifactQuery(Body):
    """How to send an artifact."""

    download: bool = Field(default=False, description="As an attachment, to be saved")


class InstanceTypeInfo(Resource):
    """What a job of that type gets, and whether the machine or cluster can give it."""

    name: str
    cpus: int
    memory_gib: float
    gpu: str | None
    gpus: int
    gpu_memory_gib: float
    price: float | None = Field(description="US dollars an hour")
    max_hours: float | None = Field(description="Longest run of a server or job, in hours")
    idle_minutes: float | None = Field(
        description="Minutes unused after which a server is stopped; null: the hub's own limit"
    )
    summary: str
    available: bool = Field(description="Whether there is such a machine, and you may take it")
    free: bool = Field(description="Whether one could begin at once")
    reason: str | None = Field(description="Why it is not available")


class InstanceTypes(Resource):
    """All instance types."""

    items: list[InstanceTypeInfo]
    next: str | None = None
    warning: str | None = Field(
        default=None,
        description="For administrators: why the file of instance types is not in force",
    )


class EnvironmentInfo(Resource):
    """An environment that jobs may run in."""

    name: str
    summary: str
    aliases: list[str]
    kernel: bool = Field(description="Whether notebooks run in it")
    built: bool = Field(description="Else the first job in it waits for about a minute")
    packages: dict[str, str] = Field(description="Versions")


class EnvironmentList(Resource):
    """All environments."""

    items: list[EnvironmentInfo]
    next: str | None = None


Json = dict[str, Any]
