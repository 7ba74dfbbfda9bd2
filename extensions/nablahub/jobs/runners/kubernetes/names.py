"""Names and labels of what a task has in a cluster: pure functions."""

from __future__ import annotations

from typing import Final

from nablahub.core import kubenames
from nablahub.jobs.runners.contract import Mount, TaskName

APP: Final = "nablahub"
#: The task's own name, which need not be a valid label.
TASK: Final = "nablahub.org/task"
#: Of a claim: the volume or the team that it is of.
REF: Final = "nablahub.org/ref"
#: Marks the pods of one `serve` task, so that its Service finds them.
SERVER: Final = "nablahub.org/server"
#: How many servers a task is, as it was asked for last.
SCALE: Final = "nablahub.org/scale"
#: The wish that a task ends, as the supervisor reads it.
CANCEL: Final = "nablahub.org/cancel"


#: That all nodes of a task are there.
BEGIN: Final = "nablahub.org/begin"


def object_name(hub: str, task: TaskName) -> str:
    """The name of all objects of a task."""
    return kubenames.task(hub, task)


def claim_name(hub: str, mount: Mount) -> str:
    """The name of the claim behind a volume or a team's storage.

    Servers see the same storage: the spawner asks :mod:`nablahub.core.kubenames` for its name, too.
    """
    name = kubenames.storage if mount.kind == "storage" else kubenames.volume
    return name(hub, mount.ref)


def labels(hub: str) -> dict[str, str]:
    """The labels of everything that a hub's runner makes."""
    return {"app": APP, kubenames.HUB_LABEL: hub, "component": "job"}


def selector(hub: str) -> str:
    """What finds everything of a hub's runner."""
    return ",".join(f"{key}={value}" for key, value in labels(hub).items())
