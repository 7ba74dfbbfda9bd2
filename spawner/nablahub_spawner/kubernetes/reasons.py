"""What the state of a starting pod means for who waits for it: pure, from the API's objects.

Terminal is what waiting cannot mend. Everything else is told in a sentence while it lasts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nablahub.core.instances import InstanceType

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Terminal:
    """It will never start.

    Parameters
    ----------
    sentence, remedy : str
        Why, and what to do.
    reason : str
        A word for the hub's metrics.
    """

    sentence: str
    remedy: str
    reason: str


@dataclass(frozen=True)
class Waiting:
    """It may still start; what for, as a sentence."""

    sentence: str


@dataclass(frozen=True)
class Running:
    """Its container runs."""


Verdict = Terminal | Waiting | Running

#: Words by which registries and provisioners say that another try may do.
_PASSING = re.compile(
    r"time-?d? ?out|timeout|too many requests|\b429\b|\b50[0234]\b|connection re|EOF|"
    r"temporar|try again|rate limit|unavailable",
    re.IGNORECASE,
)
_DENIED = re.compile(r"unauthorized|denied|forbidden|\b401\b|\b403\b|authentication", re.IGNORECASE)
REMOVED = Terminal("The server's pod was removed while it started.", "Start it again.", "removed")
AWAY = Terminal(
    "The cluster does not answer, so no server can be started now.",
    "Try again in a minute. Running servers go on.",
    "cluster_away",
)
_ADMIN = "Tell an administrator:"
_PULL = ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable")
_CONFIG = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")


def judge(pod: Json, events: Iterable[Json], kind: InstanceType, *, grows: bool) -> Verdict:
    """Return what a pod's state and the events since its start mean.

    Parameters
    ----------
    pod : mapping
        The pod as the API shows it.
    events : iterable of mapping
        Events of the pod and of its claims, oldest first, none from before the start.
    kind : InstanceType
        What it was to get.
    grows : bool
        Whether nodes are added when they are needed: then no lack of them is for ever.
    """
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        return REMOVED
    if status.get("phase") in ("Failed", "Succeeded"):
        return _ended(status)
    for container in _containers(status):
        found = _container(container)
        if found is not None:
            return found
    if _runs(status):
        return Running()
    told = list(events)
    unscheduled = _unscheduled(status)
    if unscheduled is not None:
        return _claims(told) or _unschedulable(unscheduled, kind, grows=grows)
    return _on_the_way(status, told)


def _containers(status: Json) -> list[Json]:
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _runs(status: Json) -> bool:
    found = status.get("containerStatuses") or ()
    return bool(found and status.get("podIP") and all(c.get("ready") for c in found))


def _ended(status: Json) -> Terminal:
    if status.get("reason") == "Evicted":
        return Terminal(
            f"The server was put off its node: {_sentence(status.get('message', ''))}",
            "Start it again.",
            "evicted",
        )
    for container in _containers(status):
        ended = (container.get("state") or {}).get("terminated")
        if ended:
            return _exit(ended)
    why = _sentence(status.get("message") or status.get("reason") or "no reason is known")
    return Terminal(f"The server's pod failed: {why}", "Start it again.", "failed")


def _exit(ended: Json) -> Terminal:
    if ended.get("reason") in ("StartError", "ContainerCannotRun"):
        return _unmakeable(ended.get("message", ""))
    if ended.get("reason") == "OOMKilled":
        return Terminal(
            "The server ran out of memory while it started.",
            "Choose an instance type with more memory.",
            "memory",
        )
    message = f": {ended['message'].strip()}" if ended.get("message") else "."
    return Terminal(
        f"The server ended while it started, with exit code {ended.get('exitCode')}{message}",
        f"{_ADMIN} the pod's log says more, and the image may be no single-user server.",
        "exited",
    )


def _container(container: Json) -> Terminal | Waiting | None:
    """Return what a container's own state says; None when that is nothing."""
    state = container.get("state") or {}
    before = (container.get("lastState") or {}).get("terminated")
    ended = state.get("terminated")
    if ended and ended.get("exitCode"):
        return _exit(ended)
    if before and before.get("exitCode") and not container.get("ready"):
        return _exit(before)  # it was started again, and will end again
    waiting = state.get("waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    image = container.get("image", "")
    if reason in _PULL:
        return _pull(image, message)
    if reason == "InvalidImageName":
        return Terminal(
            f"{image!r} is no name of an image.",
            f"{_ADMIN} c.NablaKubeSpawner.image must be a valid reference.",
            "image",
        )
    if reason == "ErrImageNeverPull":
        return Terminal(
            f"The image {image} is not on the node, and nodes are told never to pull it.",
            f"{_ADMIN} load it there, or change c.NablaKubeSpawner.image_pull_policy.",
            "image",
        )
    if reason in _CONFIG:
        return _unmakeable(message)
    return None


def _unmakeable(message: str) -> Terminal:
    return Terminal(
        f"The server's container cannot be made: {_sentence(message)}",
        f"{_ADMIN} a secret, a volume or a command of c.NablaKubeSpawner may be missing.",
        "container",
    )


def _pull(image: str, message: str) -> Terminal | Waiting:
    if _DENIED.search(message):
        return Terminal(
            f"The registry does not give out the image {image}.",
            f"{_ADMIN} check its name, and c.NablaKubeSpawner.image_pull_secrets.",
            "image",
        )
    if _PASSING.search(message):
        return Waiting(f"The image {image} could not be pulled yet; it is tried again.")
    why = "it does not exist" if "not found" in message or "unknown" in message else ""
    detail = why or _sentence(message).rstrip(".") or "no reason is known"
    return Terminal(
        f"The image {image} cannot be pulled: {detail}.",
        f"{_ADMIN} check c.NablaKubeSpawner.image.",
        "image",
    )


def _unscheduled(status: Json) -> str | None:
    """Return the scheduler's words on why a pod has no node; None when it has one."""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled":
            return None if condition.get("status") == "True" else condition.get("message", "")
    return ""


def _claims(events: list[Json]) -> Terminal | None:
    for event in reversed(events):
        message = event.get("message") or ""
        if event.get("reason") == "ProvisioningSucceeded":
            return None
        if event.get("reason") not in ("ProvisioningFailed", "FailedBinding"):
            continue
        if _PASSING.search(message):
            return None
        return Terminal(
            f"The server's storage cannot be made{_of_claim(event)}: {_sentence(message)}",
            f"{_ADMIN} check the storage class and access modes of c.NablaKubeSpawner.",
            "storage",
        )
    return None


def _of_claim(event: Json) -> str:
    name = (event.get("involvedObject") or {}).get("name")
    return f" (the claim {name})" if name else ""


def _unschedulable(message: str, kind: InstanceType, *, grows: bool) -> Terminal | Waiting:
    if not message:
        return Waiting("A place on a node is looked for.")
    lost = re.search(r'persistentvolumeclaim "([^"]+)" not found', message)
    if lost:
        return Terminal(
            f"The storage {lost[1]} is not there.",
            f"{_ADMIN} c.NablaKubeSpawner names a claim that the namespace lacks.",
            "storage",
        )
    if _nowhere(message) and not grows:
        return Terminal(
            f"No node of the cluster is meant for {kind.name}.",
            "Choose another instance type.",
            "instance",
        )
    if "volume node affinity conflict" in message:
        return Waiting("Your storage lies on a node that has no room now; waiting for it.")
    if "unbound" in message:
        return Waiting("The server's storage is being made.")
    if f"Insufficient {kind.gpu_resource}" in message:
        return Waiting(f"No node with {_gpus(kind)} is free; your server starts when one is.")
    if "Insufficient" in message:
        return Waiting(f"All nodes are busy: waiting for room for {kind.name} ({kind.summary}).")
    return Waiting(f"Waiting for a node: {_sentence(message.split(' preemption:')[0])}")


def _nowhere(message: str) -> bool:
    """Whether the scheduler says of every node that it does not match the pod's selector."""
    total = re.match(r"0/(\d+) nodes", message)
    refusing = re.search(r"(\d+) node\(s\) didn't match Pod's node affinity/selector", message)
    return bool(total and refusing and total[1] == refusing[1])


#: Letters whose names begin with a vowel, as models are read: an A100, an H100, a V100.
SPELLED_WITH_AN = "AEFHILMNORSX"


def _gpus(kind: InstanceType) -> str:
    if kind.gpus > 1:
        return f"{kind.gpus} × {kind.gpu}"
    return f"{'an' if str(kind.gpu)[:1] in SPELLED_WITH_AN else 'a'} {kind.gpu}"


def _on_the_way(status: Json, events: list[Json]) -> Waiting:
    for event in reversed(events):
        reason, message = event.get("reason"), event.get("message") or ""
        if reason in ("FailedMount", "FailedAttachVolume"):
            return Waiting(f"The server's storage is not there yet: {_sentence(message)}")
        if reason == "FailedCreatePodSandBox":
            return Waiting(f"The node has trouble making the pod: {_sentence(message)}")
        if reason == "Pulling":
            return Waiting("The image is being pulled; the first time on a node takes minutes.")
        if reason in ("Pulled", "Created", "Started"):
            return Waiting("The image is there; the server's container is being started.")
    return Waiting("A node was found; the server's container is being made.")


_QUOTA = re.compile(
    r"exceeded quota: (?P<name>[^,]+), requested: (?P<requested>.+), "
    r"used: (?P<used>.+), limited: (?P<limited>.+)"
)


def refused(status: int, message: str) -> Terminal | None:
    """Return what an API's refusal to make a server's object means; None for a fault of the hub.

    Parameters
    ----------
    status : int
        The HTTP status.
    message : str
        The API's own words.
    """
    if status not in (403, 422):
        return None
    quota = _QUOTA.search(message)
    if quota:
        return over_quota(
            f"The quota {quota['name']!r} of this hub's servers is used up: "
            f"{quota['used']} of {quota['limited']} taken, {quota['requested']} more needed."
        )
    if "cannot create resource" in message:
        return None  # the hub lacks a right: every start fails, and its log must say so
    if re.search(r"(maximum|minimum) .* usage per", message):
        return Terminal(
            f"The namespace's limits do not allow this: {_sentence(message)}",
            "Choose a smaller instance type.",
            "limits",
        )
    return Terminal(
        f"The cluster does not accept the server's pod: {_sentence(message)}",
        f"{_ADMIN} the instance type or a setting of c.NablaKubeSpawner asks for too much.",
        "refused",
    )


def over_quota(sentence: str) -> Terminal:
    """Return the verdict for a quota that is used up."""
    return Terminal(
        sentence,
        "Stop a server you do not need, choose a smaller type, or ask for a larger quota.",
        "quota",
    )


def _sentence(message: str) -> str:
    """Return a message of the cluster's as the end of one sentence, at most 300 characters."""
    line = " ".join(message.split())
    line = line if len(line) <= 300 else line[:299] + "…"
    return line if not line or line.endswith((".", "…", "!")) else f"{line}."
