"""From the status of a Job and its pod to what became of the task: pure functions.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from nablahub.jobs.runners.contract import Verdict
from nablahub.jobs.runners.kubernetes.inside.places import MOUNT
from nablahub.jobs.runners.kubernetes.pod import COMMIT, MAIN

type Object = dict[str, Any]

#: Reasons for which a container waits that waiting does not mend.
_HOPELESS = {
    "InvalidImageName": "The name of the image {image} is not valid: correct it.",
    "ErrImageNeverPull": (
        "The image {image} is not on the node, and none is pulled: load it there, "
        "or let images be pulled (pull_policy)."
    ),
    "ImagePullBackOff": (
        "The image {image} could not be pulled: check its name, and whether the cluster "
        "may read it (pull_secrets)."
    ),
    "CreateContainerConfigError": "Its container could not be made.",
    "CreateContainerError": "Its container could not be made.",
}
#: What registries say when trying again does not help.
_FINAL = (
    "not found",
    "manifest unknown",
    "unauthorized",
    "denied",
    "no such host",
    "does not exist",
)
_START_REASONS = ("StartError", "ContainerCannotRun")
_DISRUPTED = {
    "EvictionByEvictionAPI": "it was evicted, as when its node is drained",
    "PreemptionByScheduler": "a pod of higher priority took its place",
    "DeletionByTaintManager": "its node was tainted, as when it stops answering",
    "DeletionByPodGC": "its node is gone",
    "TerminationByKubelet": "its node shut down or ran short of something",
}

Phase = Literal["waiting", "running", "leaving", "ended", "hopeless"]


@dataclass(frozen=True)
class Seen:
    """How far a pod has come.

    Parameters
    ----------
    phase
        `waiting`: nothing has run yet; `running`; `leaving`: the command has ended and what it left
        is being brought out; `ended`; `hopeless`: it will never begin.
    message
        For people: why it waits, or why there is no hope.
    started_at
        When the command began.
    ready
        Whether its probe was answered.
    ip
        The pod's address.
    deleted
        Whether the pod is being deleted.
    verdict
        Of one that will never begin.
    """

    phase: Phase
    message: str = ""
    started_at: datetime | None = None
    ready: bool = False
    ip: str | None = None
    deleted: bool = False
    verdict: Verdict = "start"
    status: Object = field(default_factory=dict)


def see(pod: Object) -> Seen:
    """How far a pod has come."""
    status = pod.get("status", {})
    deleted = "deletionTimestamp" in pod["metadata"]
    if (failed := _not_fetched(status)) is not None:
        words = str(failed.get("message") or f"exit code {failed['exitCode']}.")
        if failed["exitCode"] == MOUNT:
            return Seen("hopeless", words, deleted=deleted, verdict="mount")
        return Seen("hopeless", f"Its inputs could not be fetched: {words}", deleted=deleted)
    if status.get("phase") in ("Succeeded", "Failed"):
        return Seen("ended", deleted=deleted)
    main = container_of(status, MAIN)
    state = main.get("state", {})
    if "terminated" in state:
        if state["terminated"].get("reason") in _START_REASONS:
            return Seen("hopeless", f"It could not begin: {state['terminated'].get('message')}")
        commit = container_of(status, COMMIT).get("state", {})
        return Seen("ended" if "terminated" in commit else "leaving", deleted=deleted)
    if "running" in state:
        started = datetime.fromisoformat(state["running"]["startedAt"])
        return Seen(
            "running", _silent(status), started_at=started, ready=main.get("ready", False),
            ip=status.get("podIP"), deleted=deleted,
        )  # fmt: skip
    first = status.get("initContainerStatuses", ())
    for container in (*first, *status.get("containerStatuses", ())):
        waits = container.get("state", {}).get("waiting", {})
        hopeless = _hopeless(waits, container.get("image", ""))
        if hopeless:
            return Seen("hopeless", hopeless, deleted=deleted)
    return Seen("waiting", _why_it_waits(status), deleted=deleted)


def _silent(status: Object) -> str:
    """Why a pod is not ready whose containers are: the cluster has not heard of its node."""
    ready = all(c.get("ready", False) for c in status.get("containerStatuses", ()))
    for condition in status.get("conditions", ()):
        if condition["type"] == "Ready" and condition["status"] == "False" and ready:
            return "Its node does not answer; it may still run there."
    return ""


def _not_fetched(status: Object) -> Object | None:
    """How what gets a pod's inputs ended, when it did not succeed."""
    for container in status.get("initContainerStatuses", ()):
        failed: Object = container.get("state", {}).get("terminated", {})
        if failed.get("exitCode", 0) != 0:
            return failed
    return None


def _hopeless(waits: Object, image: str) -> str:
    reason, said = waits.get("reason", ""), waits.get("message", "")
    if reason == "ErrImagePull" and any(word in said for word in _FINAL):
        reason = "ImagePullBackOff"
    words = _HOPELESS.get(reason)
    if words is None:
        return ""
    told = words.format(image=image)
    return f"{told} The cluster says: {said}" if said else told


def _why_it_waits(status: Object) -> str:
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"Waiting for a node with room for it: {condition.get('message', '')}"
    if any("running" in c.get("state", {}) for c in status.get("initContainerStatuses", ())):
        return "What it reads is being fetched."
    for container in status.get("containerStatuses", ()):
        waits = container.get("state", {}).get("waiting", {})
        if waits.get("reason") == "ErrImagePull":
            return (
                f"The image {container.get('image')} cannot be pulled yet: {waits.get('message')}"
            )
    return ""


def verdict(pod: Object | None, wish: Object | None) -> Object:
    """What became of a task whose pod has ended or vanished, in the form of `status.json`.

    Parameters
    ----------
    pod
        The pod as it was last; None when nobody saw it.
    wish
        Who wished that the task ends, if anybody did.
    """
    status = pod.get("status", {}) if pod else {}
    ended = container_of(status, MAIN).get("state", {}).get("terminated", {})
    found: Object = {
        "verdict": "lost", "message": _LOST, "exit_code": None, "started_at": None,
        "finished_at": None, "peak_memory": None, "said": "",
    }  # fmt: skip
    found |= _report(ended)
    oom = ended.get("reason") == "OOMKilled"
    if oom and found["verdict"] in ("code", "lost") and ended.get("exitCode") != 0:
        limit = "It needed more memory than its limit."
        found |= {"verdict": "oom", "message": limit, "exit_code": found["exit_code"] or 137}
    if found["verdict"] == "lost":
        if wish is not None:
            found |= {"verdict": "cancelled", "message": wish["message"]}
        elif status.get("reason") == "DeadlineExceeded":
            found |= {"verdict": "timeout", "message": "It ran longer than its pod may."}
        elif "exceed" in status.get("message", "") and status.get("reason") == "Evicted":
            found |= {"verdict": "disk", "message": _DISK.format(status["message"].rstrip(". "))}
        elif why := disruption(status):
            found["message"] = f"Its pod was killed: {why}."
    return found


_DISK = (
    "It wrote more than it may have on its node's disk: {}. Write what is large into /storage or "
    "an output that is a volume, or ask an administrator for more (scratch_size)."
)
_LOST = "Its pod vanished or was killed, and what it was doing ended with it."


def _report(ended: Object) -> Object:
    try:
        report = json.loads(ended.get("message") or "")
    except ValueError:
        return {}
    return report if isinstance(report, dict) and "verdict" in report else {}


def disruption(status: Object) -> str:
    """Why the cluster ended a pod, if it did.

    https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
    """
    if status.get("reason") == "Evicted":
        return (
            f"it was evicted, because its node needed the room: {status.get('message', '')}".rstrip(
                ". "
            )
        )
    if status.get("reason") in ("NodeLost", "NodeShutdown", "Terminated"):
        return "its node shut down or stopped answering"
    for condition in status.get("conditions", ()):
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            reason = condition.get("reason", "")
            return _DISRUPTED.get(reason, str(condition.get("message", reason))).rstrip(". ")
    return ""


def container_of(status: Object, name: str) -> Object:
    found: list[Object] = [c for c in status.get("containerStatuses", ()) if c["name"] == name]
    return found[0] if found else {}
