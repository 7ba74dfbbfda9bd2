"""How much of the machine is promised to jobs: what is too much waits for its turn."""

from __future__ import annotations

from dataclasses import dataclass, field

from nablahub.core.instances import InstanceType, Machine


@dataclass
class Capacity:
    """Promises of one machine; used on the event loop only, so needs no lock.

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

    def take(self, job_id: str, kind: str, wants: InstanceType) -> bool:
        """Promise a job its share; False, and a place in the queue, when there is none left."""
        if job_id in self._taken:
            return True
        if not self.has(kind, wants) or self._ahead(job_id):
            self._waiting.setdefault(job_id)
            return False
        self._waiting.pop(job_id, None)
        self.hold(job_id, kind, wants)
        return True

    def hold(self, job_id: str, kind: str, wants: InstanceType) -> None:
        """Note a promise that was made before, such as in an earlier life of the service."""
        self._taken[job_id] = (0 if kind == "serve" else wants.cpus, wants.memory_gib)

    def has(self, kind: str, wants: InstanceType) -> bool:
        """Whether that much is free now."""
        cpus = sum(cpus for cpus, _ in self._taken.values())
        memory = sum(memory for _, memory in self._taken.values())
        wanted = 0 if kind == "serve" else wants.cpus
        return (
            cpus + wanted <= self.machine.cpus
            and memory + wants.memory_gib <= self.machine.memory_gib
        )

    def release(self, job_id: str) -> list[str]:
        """Take a promise back and return who waits for it, the longest first."""
        self._taken.pop(job_id, None)
        self._waiting.pop(job_id, None)
        return self.waiting()

    def waiting(self) -> list[str]:
        """Return who waits, the longest first."""
        return list(self._waiting)

    def _ahead(self, job_id: str) -> list[str]:
        """Who waits longer: a small job must not pass a big one for ever."""
        ahead: list[str] = []
        for other in self._waiting:
            if other == job_id:
                break
            ahead.append(other)
        return ahead
