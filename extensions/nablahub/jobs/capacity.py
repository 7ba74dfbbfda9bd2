"""How much of the machine is promised to jobs: what is too much waits for its turn."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from nablahub.core.instances import InstanceType, Machine

#: GiB that sums of fractions may be off.
_ROUNDING = 1e-6


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
    _taken: dict[str, tuple[int, float]] = field(default_factory=dict)
    _waiting: dict[str, None] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _cpus: int = 0
    _memory: float = 0.0

    def take(self, job_id: str, kind: str, wants: InstanceType) -> bool:
        """Promise a job its share; False, and a place in the queue, when there is none left."""
        with self._lock:
            if job_id in self._taken:
                return True
            if not self.has(kind, wants) or not self._first(job_id):
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
            self._drop(job_id)
            share = self._taken[job_id] = (0 if kind == "serve" else wants.cpus, wants.memory_gib)
            self._cpus += share[0]
            self._memory += share[1]

    def has(self, kind: str, wants: InstanceType) -> bool:
        """Whether that much is free now."""
        with self._lock:
            wanted = 0 if kind == "serve" else wants.cpus
            return (
                self._cpus + wanted <= self.machine.cpus
                and self._memory + wants.memory_gib <= self.machine.memory_gib + _ROUNDING
            )

    def release(self, job_id: str) -> list[str]:
        """Take a promise back and return who waits for it, the longest first."""
        with self._lock:
            self._drop(job_id)
            self._waiting.pop(job_id, None)
            return self.waiting()

    def waiting(self) -> list[str]:
        """Return who waits, the longest first."""
        with self._lock:
            return list(self._waiting)

    def _drop(self, job_id: str) -> None:
        cpus, memory = self._taken.pop(job_id, (0, 0.0))
        self._cpus -= cpus
        self._memory -= memory

    def _first(self, job_id: str) -> bool:
        """Whether nobody waits longer: a small job must not pass a big one for ever."""
        return next(iter(self._waiting), job_id) == job_id
