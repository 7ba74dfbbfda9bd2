"""What a runner is asked to do and what it answers: the one contract of all runners.

A `TaskSpec` is plain JSON and names no path of any host: a mount says what it shows by kind and
reference, and only inside a runner does that become a folder, a volume or a claim.

`tests/contract` is the other half: the same suite runs against each runner.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, NewType, Protocol

from pydantic import BaseModel, ConfigDict, Field

TaskName = NewType("TaskName", str)

Phase = Literal["absent", "running", "ended"]
Verdict = Literal["code", "oom", "disk", "timeout", "cancelled", "lost", "mount", "start", "output"]
"""Why a task ended: its command's own exit; more memory than it may; more on its machine's disk
than it may; longer than it may; somebody wished it; its parent vanished without a word; a folder of
a bucket could not be shown to it; it could not be started at all; its command succeeded, and what
it left in `/outputs` cannot be kept."""

INPUTS = "/inputs"
OUTPUTS = "/outputs"
DATASETS = "/datasets"
STORAGE = "/storage"
ARTIFACTS = "/artifacts"
CONTROL = "/run/nablahub"
WORK = "/work"
LIBRARY = "/opt/nablahub/lib"
ENVIRONMENT = "/opt/nablahub/environment"
TOOLS = "/opt/nablahub/tools"
PROGRAMS = "/opt/nablahub/bin"


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Mount(_Wire):
    """Something shown to a task at an absolute path.

    Parameters
    ----------
    path
        Where the task sees it, such as `/inputs/data`.
    kind
        What it is: a dataset's version, a model's, a public dataset's that is to lie where all
        servers see it, a volume of a run, a small text, the team's storage, a folder of a bucket,
        the live folder of a deployment's key hashes, an output that is collected afterwards (all of
        them when `ref` is empty), a folder of the task's own, or a workspace: a folder that was
        packed for it, of which `/work` is a copy.
    ref
        Which one: a version's id, a volume's name, the text itself, a team's id, a workspace's id,
        a storage provider and a folder in it; empty for `own`.
    mode
        `ro` or `rw`.
    """

    path: str = Field(pattern=r"^/[^\x00]*$")
    kind: Literal[
        "dataset", "model", "public", "volume", "string", "storage", "bucket", "keys", "output",
        "own", "workspace",
    ]  # fmt: skip
    ref: str = ""
    mode: Literal["ro", "rw"] = "ro"

    @property
    def own_name(self) -> str:
        """By what it is known among a task's mounts."""
        return self.path.strip("/").replace("/", ".")


class Resources(_Wire):
    """What a task may use.

    Parameters
    ----------
    cpus
        Number of CPUs; None for all.
    memory_bytes
        None for no limit.
    gpus
        Number of GPUs.
    """

    cpus: int | None = Field(default=None, ge=1)
    memory_bytes: int | None = Field(default=None, ge=1 << 20)
    gpus: int = Field(default=0, ge=0)


class Toleration(_Wire):
    """A taint of nodes that a task puts up with; the fields are those of Kubernetes.

    https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
    """

    key: str | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    seconds: int | None = None


class Placement(_Wire):
    """On which machines a task may run, where there is more than one.

    Parameters
    ----------
    node_selector
        Labels that the machine has.
    tolerations
        Taints that it may have.
    runtime_class
        How its containers are run.
    gpu_resource
        By which name GPUs are asked for.
    """

    node_selector: Mapping[str, str] = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    runtime_class: str | None = None
    gpu_resource: str = "nvidia.com/gpu"


class Probe(_Wire):
    """How to find out by HTTP whether a server takes requests: any answer below 400 to a GET.

    Times are in seconds.

    Parameters
    ----------
    live
        A path that a server answers which is loading or draining, but not one that hangs: where the
        runner can, it ends and replaces a server that does not answer it. None: it asks for none.
    own_port
        Ask at a port of its own, to which nobody else is led: the server finds it in
        `HEALTH_PORT`. A runner that gives no such port asks at `PORT`.
    """

    path: str = "/"
    live: str | None = None
    own_port: bool = False
    period: float = Field(default=5.0, gt=0)
    timeout: float = Field(default=2.0, gt=0)


class Scale(_Wire):
    """How many servers a `serve` task is, behind its one address, where a runner can have many.

    Parameters
    ----------
    least, most
        As many as `least` always, and up to `most` when they are busy.
    cpu, memory
        In percent of what each asked for: above it there are to be more. None: not looked at.
    """

    least: int = Field(default=1, ge=1)
    most: int = Field(default=1, ge=1)
    cpu: int | None = Field(default=None, ge=1)
    memory: int | None = Field(default=None, ge=1)

    @property
    def fixed(self) -> bool:
        """Whether the number never changes by itself."""
        return self.most <= self.least or (self.cpu is None and self.memory is None)


class TaskSpec(_Wire):
    """One command to run.

    Parameters
    ----------
    name
        Unique for ever; starting the same name twice starts one task.
    kind
        `task` ends by itself; `serve` stays, listens on the address in `HOST` and the port in
        `PORT`, and is probed. Where its servers are many, one that ends after all were ready is
        replaced by the runner; one that ends before that ends the task.
    command
        Program and arguments, as seen by the task.
    environment
        Name of its Python environment, seen at `/opt/nablahub/environment`; None: the system's.
    tools
        More environments, each seen at `/opt/nablahub/tools/<name>`.
    nodes
        How many machines run the command at once, each with all of the resources and mounts; what
        the first leaves in `/outputs` and `/artifacts` is kept.
    delivery_token
        By which a runner on other machines brings out what the task leaves; the command does not
        see it.
    env
        Variables.
    mounts
        What it sees; `/work` (where it starts), `/artifacts`, `/tmp` and its home come anyway.
    files
        Small files laid into `/work` before it starts: relative path → text.
    timeout_seconds
        It ends with the verdict `timeout` after that; None: never.
    grace_seconds
        From SIGTERM to SIGKILL when it is cancelled or times out.
    scale
        Of a `serve` task: how many servers it is.
    maker
        Of a `serve` task on a cluster: who makes its pods, the cluster's own Deployments or the
        operator of Seldon Core.
    """

    name: TaskName = TaskName("")
    kind: Literal["task", "serve"] = "task"
    command: tuple[str, ...] = Field(min_length=1)
    environment: str | None = None
    tools: tuple[str, ...] = ()
    nodes: int = Field(default=1, ge=1)
    delivery_token: str = ""
    env: Mapping[str, str] = Field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    files: Mapping[str, str] = Field(default_factory=dict)
    resources: Resources = Resources()
    placement: Placement = Placement()
    timeout_seconds: float | None = Field(default=None, gt=0)
    grace_seconds: float = Field(default=10.0, ge=0)
    probe: Probe = Probe()
    scale: Scale = Scale()
    maker: Literal["deployment", "seldon"] = "deployment"


@dataclass(frozen=True)
class TaskStatus:
    """What became of a task so far.

    Parameters
    ----------
    phase
        `absent`: never started, or forgotten; `running`; `ended`: nothing of it is left alive.
    verdict
        Why it ended; None before.
    exit_code
        Of its command, 128 + the signal's number when a signal ended it; None when there was none.
    message
        A sentence for people; empty when the exit code says it all.
    last_words
        What the command left in the file named by NABLAHUB_MESSAGE_FILE, else, when it failed, the
        last line of its log.
    address
        Where a `serve` task answers, such as `http://127.0.0.1:12345`.
    ready
        Whether a `serve` task answered its probe; of several servers at first each, then any.
    servers
        Of a `serve` task: how many of its servers answered.
    peak_memory_bytes
        The most it used, if known; of several nodes, the most that one of them did.
    left_out
        Sentences about what it left that was not kept, whatever the verdict; empty: everything was.
    node
        Of a task of several nodes that failed: whose failure was the first, from 0; the others were
        ended then.
    """

    phase: Phase
    verdict: Verdict | None = None
    exit_code: int | None = None
    message: str = ""
    last_words: str = ""
    address: str | None = None
    ready: bool = False
    servers: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    peak_memory_bytes: int | None = None
    left_out: str = ""
    node: int | None = None


class TaskRefused(Exception):
    """The task cannot be started here; trying again would not help. The text is for people."""


class RunnerAway(Exception):
    """What runs tasks does not answer now: try again later. The text is for people."""


class TaskRuns(Exception):
    """A task that still runs cannot be forgotten: cancel it first."""


Listener = Callable[[TaskName], None]


class Runner(Protocol):
    """Starts tasks and knows what became of them, whatever was killed meanwhile.

    None of its calls needs the runner to remember anything: a new runner over the same place
    answers the same.
    """

    def listen(self, listener: Listener) -> None:
        """Call `listener(name)` on the event loop when a task that was looked at may have changed.

        Perhaps without need; at least once after a task ended or got ready.
        """

    async def prepare(self, task: TaskSpec) -> None:
        """Do ahead what of starting the task can be undone; nothing of it runs by that.

        Need not be called before `start`, and raises what that would raise.
        """

    async def start(self, task: TaskSpec) -> None:
        """Start the task unless one of its name was ever started: then do nothing.

        When this raises or is interrupted, the task may or may not have been started; calling it
        again starts at most one.

        Raises
        ------
        TaskRefused
            What it asks for does not exist here.
        """

    async def look(self, task: TaskSpec) -> TaskStatus:
        """What became of the task; from then on the listener hears of its changes."""

    async def scale(self, task: TaskSpec) -> None:
        """See that a running `serve` task is as many servers as it says now.

        Nothing happens where a task is always one server, nor when it is that many.
        """

    async def cancel(self, name: TaskName, *, grace_seconds: float, message: str) -> None:
        """Ask the task to end: SIGTERM to all of its processes, SIGKILL after the grace.

        Returns at once; the verdict comes later, and is still `code` when the task ended just
        before. Does nothing when it has ended. A task that was not started yet ends as cancelled
        when it is.
        """

    async def logs(self, name: TaskName, offset: int, limit: int) -> bytes:
        """Up to `limit` bytes of what the task wrote, from byte `offset` on; empty at the end."""

    def follow(self, task: TaskSpec, offset: int) -> AsyncGenerator[bytes]:
        """What the task wrote from byte `offset` on, as it writes; ends when it has ended."""

    def output(self, name: TaskName, output: str) -> Path:
        """Where the service finds what an ended task left as an output of that name."""

    def artifacts(self, name: TaskName) -> Path:
        """Where the service finds what a task put into `/artifacts`, also while it runs."""

    async def tidy(self, name: TaskName) -> None:
        """Remove what only the running task needed; its log, status and artifacts stay."""

    async def names(self) -> list[TaskName]:
        """The tasks of which there is any trace."""

    async def untidy(self) -> list[TaskName]:
        """The tasks, running ones too, after which nobody has tidied up yet."""

    async def forget(self, name: TaskName) -> None:
        """Remove every trace of an ended task, its log too; nothing happens when there is none.

        Raises
        ------
        TaskRuns
            It has not ended.
        """

    async def close(self) -> None:
        """Stop listening. Tasks go on."""
