"""How much of the machine is promised to jobs: what is too much waits for its turn."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from nablahub.core.instances import GIB, InstanceType, Machine


@dataclass
class Capacity:
    """Promises of one machine; any thread may ask.

    Jobs that end queue for processors and memory; servers, which mostly wait, share processors
    with everybody and count by their memory.

    Parameters
    ----------
    machine : Machine
        What there is.
    """

    machine: Machine
    #: Processors and bytes, by job.
    _taken: dict[str, tuple[int, int]] = field(default_factory=dict)
    _waiting: dict[str, None] = field(default_factory=dict)
    #: Of all promises: thousands of jobs are looked at each time one ends.
    _cpus: int = 0
    _memory: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def take(self, job_id: str, kind: str, wants: InstanceType) -> bool:
        """Promise a job its share; False, and a place in the queue, when there is none left.

        Only the one that waits longest gets one: a small job must not pass a big one for ever.
        """
        with self._lock:
            if job_id in self._taken:
                return True
            if self.first() not in (None, job_id) or not self.has(kind, wants):
                self._waiting.setdefault(job_id)
                return False
            self._waiting.pop(job_id, None)
            self.hold(job_id, kind, wants)
            return True

    def take_now(self, job_id: str, kind: str, wants: InstanceType) -> bool:
        """Promise a job its share when nobody waits; else False, and nothing is noted."""
        with self._lock:
            if self._waiting or not self.has(kind, wants):
                return False
            self.hold(job_id, kind, wants)
            return True

    def hold(self, job_id: str, kind: str, wants: InstanceType) -> None:
        """Note a promise that was made before, such as in an earlier life of the service."""
        with self._lock:
            self._count(self._taken.pop(job_id, (0, 0)), -1)
            share = self._taken[job_id] = _share(kind, wants)
            self._count(share, 1)

    def has(self, kind: str, wants: InstanceType) -> bool:
        """Whether that much is free now."""
        cpus, memory = _share(kind, wants)
        with self._lock:
            return (
                self._cpus + cpus <= self.machine.cpus
                and self._memory + memory <= self.machine.memory_gib * GIB
            )

    def release(self, job_id: str) -> str | None:
        """Take a promise back and return who waits longest, if anybody does."""
        with self._lock:
            self._count(self._taken.pop(job_id, (0, 0)), -1)
            self._waiting.pop(job_id, None)
            return self.first()

    def first(self) -> str | None:
        """Return who waits longest."""
        with self._lock:
            return next(iter(self._waiting), None)

    def _count(self, share: tuple[int, int], times: int) -> None:
        self._cpus += times * share[0]
        self._memory += times * share[1]


def _share(kind: str, wants: InstanceType) -> tuple[int, int]:
    """Processors and bytes of a job."""
    return (0 if kind == "serve" else wants.cpus, round(wants.memory_gib * GIB))
