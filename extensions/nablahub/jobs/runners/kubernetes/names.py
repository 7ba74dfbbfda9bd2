"""Names and labels of what a task has in a cluster: pure functions.

The readable part of a name is for people; a hash of all that decides it makes it injective. Names
are DNS labels of at most 63 characters, and a Job's is 52 or shorter, since Kubernetes adds to it:
https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from nablahub.core import kubenames
from nablahub.jobs.runners.contract import Mount, TaskName

APP: Final = "nablahub"
HUB_LABEL: Final = "nablahub.org/hub"
#: The task's own name, which need not be a valid label.
TASK: Final = "nablahub.org/task"
#: Marks the pods of one `serve` task, so that its Service finds them.
SERVER: Final = "nablahub.org/server"
#: How many servers a task is, as it was asked for last.
SCALE: Final = "nablahub.org/scale"
#: The wish that a task ends, as the supervisor reads it.
CANCEL: Final = "nablahub.org/cancel"
_READABLE = 20


def object_name(hub: str, task: TaskName) -> str:
    """The name of all objects of a task."""
    return _named(task, "task", hub, task)


def claim_name(hub: str, mount: Mount) -> str:
    """The name of the claim behind a volume or a team's storage, which its servers see too."""
    if mount.kind == "storage":
        return kubenames.storage(hub, mount.ref)
    return _named(mount.kind, "claim", hub, mount.kind, mount.ref)


def labels(hub: str) -> dict[str, str]:
    """The labels of everything that a hub's runner makes."""
    return {"app": APP, HUB_LABEL: hub, "component": "job"}


def selector(hub: str) -> str:
    """What finds everything of a hub's runner."""
    return ",".join(f"{key}={value}" for key, value in labels(hub).items())


def _named(readable: str, *parts: str) -> str:
    shown = re.sub(r"[^a-z0-9]+", "-", readable.lower())[:_READABLE].strip("-")
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    return f"nabla-{shown}-{digest}" if shown else f"nabla-{digest}"
