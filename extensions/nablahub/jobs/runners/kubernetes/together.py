"""From the pods of a task's nodes to what became of the task: pure functions.

A task of one node is what its pod is. One of several begins when all are there, and ends when all
have ended: well, when each did, else as the first of those that did not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from nablahub.jobs.runners.kubernetes.names import BEGIN
from nablahub.jobs.runners.kubernetes.refusals import Refusal
from nablahub.jobs.runners.kubernetes.verdict import Seen, disruption, see, verdict

type Object = dict[str, Any]

_NEVER_THERE = "Not all of its nodes were ever there."


@dataclass(frozen=True)
class Node:
    """The pod of a node.

    Parameters
    ----------
    pod
        As it is, or as it was when it vanished.
    gone
        Whether it has vanished.
    place
        When several of a task's pods are being deleted: the how manyth of them that was seen of.
    """

    pod: Object
    gone: bool = False
    place: int = 0

    @property
    def seen(self) -> Seen:
        """How far it has come."""
        return Seen("ended") if self.gone else see(self.pod)

    @property
    def begun(self) -> bool:
        """Whether it was told that all nodes are there."""
        return BEGIN in self.pod["metadata"].get("annotations", {})


def see_all(nodes: Mapping[int, Node], count: int, *, over: bool) -> Seen:
    """How far a task has come.

    Parameters
    ----------
    nodes
        The nodes that there are or were, at least one, by their numbers.
    count
        How many there shall be.
    over
        Whether no more nodes will come.
    """
    seen = {number: node.seen for number, node in sorted(nodes.items())}
    if count == 1:
        return seen[min(seen)]
    deleted = any(each.deleted for each in seen.values())
    for number, each in seen.items():
        if each.phase == "hopeless":
            return replace(each, message=f"Node {number}: {each.message}")
    if all(each.phase == "ended" for each in seen.values()) and (over or len(seen) == count):
        return Seen("ended")
    if any(_failed(nodes[number], each) for number, each in seen.items()):
        return Seen("leaving", deleted=deleted)
    waiting = {number: each for number, each in seen.items() if each.phase == "waiting"}
    if waiting or len(seen) < count:
        there = len(seen) - len(waiting)
        why = next((f" Node {n}: {w.message}" for n, w in waiting.items() if w.message), "")
        words = f"Waiting for all of its {count} nodes: {there} of them are there.{why}"
        return Seen("waiting", words, deleted=deleted)
    starts = [each.started_at for each in seen.values() if each.started_at is not None]
    leaving = all(each.phase in ("leaving", "ended") for each in seen.values())
    words = next((f"Node {n}: {each.message}" for n, each in seen.items() if each.message), "")
    return Seen(
        "leaving" if leaving else "running", words, started_at=max(starts, default=None),
        deleted=deleted,
    )  # fmt: skip


def with_refusal(seen: Seen, refusal: Refusal | None) -> Seen:
    """What a task that waits for pods waits for, when the cluster refused to make one."""
    if refusal is None:
        return seen
    words = f"{seen.message} {refusal.words}".strip()
    return replace(seen, phase="hopeless" if refusal.never else seen.phase, message=words)


def with_lack(seen: Seen, lack: str) -> Seen:
    """What a task that waits for its storage waits for."""
    if seen.phase != "waiting" or not lack:
        return seen
    return replace(seen, message=f"{seen.message} {lack}".strip())


def verdict_all(nodes: Mapping[int, Node], count: int, wish: Object | None) -> Object:
    """What became of a task all of whose nodes have ended, in the form of `status.json`."""
    found = {number: verdict(node.pod, wish) for number, node in sorted(nodes.items())}
    if count == 1:
        return found[min(found)]
    failed = [number for number, each in found.items() if not _well(each)]
    if failed:
        first = min(failed, key=lambda number: _order(nodes[number], found[number]))
        whole = {**found[first], "node": first}
    elif len(found) < count:
        whole = verdict(None, wish)
        whole["message"] = whole["message"] if wish else _NEVER_THERE
    else:
        whole = dict(found[0])
    for name, choose in (("started_at", min), ("finished_at", max), ("peak_memory", max)):
        known = [each[name] for each in found.values() if each[name] is not None]
        whole[name] = choose(known, default=None)
    return whole


def _well(ended: Object) -> bool:
    return bool(ended["verdict"] == "code" and ended["exit_code"] == 0)


def _failed(node: Node, seen: Seen) -> bool:
    return seen.phase in ("leaving", "ended") and not _well(verdict(node.pod, None))


def _order(node: Node, ended: Object) -> tuple[bool, float, float]:
    """What comes first of the failures: that which has a cause of its own, then the earliest.

    When one has failed, the cluster deletes the pods that still run, which kills their commands.
    Of pods that were only deleted, the cluster tells the second in which that was asked for.
    """
    status, meta = node.pod.get("status", {}), node.pod["metadata"]
    for condition in status.get("conditions", ()):
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            return False, _seconds(condition.get("lastTransitionTime")), 0
    end = ended["finished_at"] or float("inf")
    killed = "deletionTimestamp" in meta and ended["verdict"] in ("lost", "cancelled")
    if killed and not disruption(status):
        # The watch tells which was first: the second changes when a node lets its pod go.
        return True, node.place, asked(node.pod)
    moments = [
        _seconds(each["state"]["terminated"].get("finishedAt"))
        for each in status.get("containerStatuses", ())
        if "terminated" in each.get("state", {})
    ]
    return False, min(end, *moments), 0


def asked(pod: Object) -> float:
    """The second in which a pod's deletion was asked for; without end when it was not."""
    meta = pod["metadata"]
    at = _seconds(meta.get("deletionTimestamp"))
    return at - float(meta.get("deletionGracePeriodSeconds") or 0)


def _seconds(text: str | None) -> float:
    return datetime.fromisoformat(text).timestamp() if text else float("inf")
