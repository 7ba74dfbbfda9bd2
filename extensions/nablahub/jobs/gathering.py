"""Which jobs of several nodes may gather their nodes: one by one where they could compete."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nablahub.core.instances import InstanceType

#: Labels that a job's nodes must have.
type Selector = Mapping[str, str]


@dataclass
class Gathering:
    """Who gathers nodes; used on the event loop only, so needs no lock.

    A job of several nodes begins when all of them are there, and those that are there wait for the
    others. Two that each had half of a full cluster would wait for each other for ever. So of those
    that could go to the same nodes of the cluster one gathers at a time, in the order in which they
    came: it gets all that becomes free. Jobs of one node need no turn, since they hold nothing
    while they wait. A cluster's room is not looked at: pods of others come into it, and nodes that
    are added when somebody wants them.
    """

    _there: dict[str, Selector] = field(default_factory=dict)
    _waiting: dict[str, Selector] = field(default_factory=dict)

    def take(self, job_id: str, wants: InstanceType) -> bool:
        """Let a job gather its nodes; False, and a place in the queue, while it is not its turn."""
        if job_id in self._there:
            return True
        mine = wants.node_selector
        if _compete(mine, self._there.values()) or _compete(mine, self._before(job_id)):
            self._waiting.setdefault(job_id, mine)
            return False
        self.hold(job_id, wants)
        return True

    def hold(self, job_id: str, wants: InstanceType) -> None:
        """Note that a job gathers, such as since an earlier life of the service."""
        self._waiting.pop(job_id, None)
        self._there[job_id] = wants.node_selector

    def done(self, job_id: str) -> list[str]:
        """Note that a job has all its nodes, or has ended; return who waits, the longest first."""
        if job_id not in self._there and job_id not in self._waiting:
            return []
        self._there.pop(job_id, None)
        self._waiting.pop(job_id, None)
        return list(self._waiting)

    def _before(self, job_id: str) -> list[Selector]:
        """What those want that wait longer."""
        ahead = []
        for other, selector in self._waiting.items():
            if other == job_id:
                break
            ahead.append(selector)
        return ahead


def _compete(mine: Selector, others: Iterable[Selector]) -> bool:
    """Whether a node could be both mine and another's; no node has two values of one label."""
    return any(
        all(other.get(name, value) == value for name, value in mine.items()) for other in others
    )
