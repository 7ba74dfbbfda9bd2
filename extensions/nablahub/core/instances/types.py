"""An instance type: what a server or job of that name gets, who may have it, and for how long."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import TypeAdapter

from nablahub.core.instances.machine import Machine

DEFAULT_INSTANCE: Final = "C4"


@dataclass(frozen=True)
class Toleration:
    """A taint of Kubernetes nodes that pods of an instance type put up with.

    The fields are those of Kubernetes' ``Toleration`` (core/v1).

    Parameters
    ----------
    key : str or None
        The taint's key; None, with ``Exists``, for every taint.
    operator : str
        ``Equal`` compares the value too, ``Exists`` the key alone.
    value : str or None
        The taint's value.
    effect : str or None
        The taint's effect; None for all of them.
    seconds : int or None
        How long a pod stays after such a taint appeared (``NoExecute`` only); None for ever.
    """

    key: str | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    seconds: int | None = None


@dataclass(frozen=True)
class InstanceType:
    """What a server or job of that type gets.

    Parameters
    ----------
    name : str
        Label, as specs write it.
    cpus : int
        Processors.
    memory_gib : float
        Main memory.
    gpu : str or None
        Model of the graphics processors, None when there are none.
    gpus : int
        How many of them.
    gpu_memory_gib : float
        Memory of each.
    price : float or None
        US dollars an hour, for information; those of the shipped types are Gradient's.
    users : frozenset of str or None
        Names of users who may take it, beside the members of ``groups``.
    groups : frozenset of str or None
        Hub groups whose members may take it. Everybody may when both are None.
    max_hours : float or None
        Longest run of a server or job, in hours; None for no limit.
    idle_minutes : float or None
        Minutes without activity after which a server is stopped; None for the hub's own limit.
    node_selector : mapping of str to str
        Kubernetes: labels of the nodes that its pods go to.
    tolerations : tuple of Toleration
        Kubernetes: taints that its pods put up with.
    runtime_class : str or None
        Kubernetes: name of the RuntimeClass of its pods, such as ``"nvidia"``.
    gpu_resource : str
        Kubernetes: the resource by which its GPUs are asked for.
    """

    name: str
    cpus: int
    memory_gib: float
    gpu: str | None = None
    gpus: int = 0
    gpu_memory_gib: float = 0
    price: float | None = None
    users: frozenset[str] | None = None
    groups: frozenset[str] | None = None
    max_hours: float | None = None
    idle_minutes: float | None = None
    # Mappings have no hash; types that differ in this alone need no different one.
    node_selector: Mapping[str, str] = field(default_factory=dict, hash=False)
    tolerations: tuple[Toleration, ...] = ()
    runtime_class: str | None = None
    gpu_resource: str = "nvidia.com/gpu"

    def fits(self, machine: Machine) -> str | None:
        """Return None when the machine can give it, else the reason why not, as a sentence.

        A graphics processor counts when its model is the one named; anything else would be a
        different instance under the same label.
        """
        if self.gpu is not None:
            alike = [
                gpu
                for gpu in machine.gpus
                # a driver keeps a little of the memory for itself
                if _same_model(self.gpu, gpu.name) and gpu.memory_gib >= 0.9 * self.gpu_memory_gib
            ]
            if not machine.gpus:
                return f"Needs {self.gpus} × {self.gpu}; this machine has no GPU."
            if len(alike) < self.gpus:
                have = ", ".join(sorted({gpu.name for gpu in machine.gpus}))
                return (
                    f"Needs {self.gpus} × {self.gpu}; this machine has "
                    f"{len(alike) or 'none'} of them ({len(machine.gpus)} × {have})."
                )
        if self.cpus > machine.cpus:
            return f"Needs {self.cpus} CPUs; this machine has {machine.cpus}."
        if self.memory_gib > machine.memory_gib:
            need = number(self.memory_gib)
            return f"Needs {need} GiB of memory; this machine has {machine.memory_gib:.1f} GiB."
        return None

    @property
    def summary(self) -> str:
        """One line for people, such as ``8 CPUs · 30 GiB · V100 16 GiB``."""
        parts = [f"{self.cpus} CPUs", f"{number(self.memory_gib)} GiB"]
        if self.gpu is not None:
            count = f"{self.gpus} × " if self.gpus > 1 else ""
            parts.append(f"{count}{self.gpu} {number(self.gpu_memory_gib)} GiB")
        return " · ".join(parts)

    def kept_from(self, user: str, groups: Collection[str]) -> str | None:
        """Return None when that user may take it, else why not, as a sentence.

        Parameters
        ----------
        user : str
            Name of the hub user.
        groups : collection of str
            Hub groups they belong to.
        """
        if self.users is None and self.groups is None:
            return None
        if user in (self.users or ()) or not frozenset(groups).isdisjoint(self.groups or ()):
            return None
        if not self.groups:
            return "It is kept for certain users, and you are none of them."
        several = "one of the groups" if len(self.groups) > 1 else "the group"
        return f"It is kept for members of {several} {', '.join(sorted(self.groups))}."

    @property
    def max_seconds(self) -> float | None:
        """Longest run in seconds; None for no limit."""
        return None if self.max_hours is None else self.max_hours * 3600

    @property
    def limits(self) -> str:
        """How long it runs, for people, such as ``at most 6 hours``; empty without limits."""
        parts = []
        if self.max_hours is not None:
            parts.append(f"at most {duration(self.max_hours * 3600)}")
        if self.idle_minutes is not None:
            parts.append(f"stopped after {duration(self.idle_minutes * 60)} unused")
        return ", ".join(parts)

    def save(self) -> dict[str, Any]:
        """Return all of it as JSON, for what was started with it: the type may change later."""
        saved: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return saved

    @classmethod
    def load(cls, saved: Mapping[str, Any]) -> InstanceType:
        """Return what :meth:`save` was called on; pydantic.ValidationError if it is no such."""
        return _ADAPTER.validate_python(dict(saved))


_ADAPTER: TypeAdapter[InstanceType] = TypeAdapter(InstanceType)


def suggestion(machine: Machine | None, types: Iterable[InstanceType]) -> InstanceType | None:
    """Return the biggest type without GPU that fits a machine, for messages that refuse one.

    Of several that are as big it is the default one. Without a machine (a cluster decides what
    fits) it is the default one, else the first.
    """
    plain = [kind for kind in types if kind.gpu is None]
    if machine is None:
        return next((k for k in plain if k.name == DEFAULT_INSTANCE), plain[0] if plain else None)
    return max(
        (kind for kind in plain if kind.fits(machine) is None),
        key=lambda kind: (kind.cpus, kind.memory_gib, kind.name == DEFAULT_INSTANCE),
        default=None,
    )


def number(value: float) -> str:
    """Return a number without needless zeros."""
    return f"{value:g}"


def duration(seconds: float) -> str:
    """Return a time in words, such as ``6 hours`` or ``90 seconds``."""
    for size, unit in ((3600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            count = seconds / size
            return f"{number(count)} {unit}{'' if count == 1 else 's'}"
    return f"{number(seconds)} second{'' if seconds == 1 else 's'}"


def _same_model(wanted: str, driver_name: str) -> bool:
    """Whether a driver's name ("NVIDIA A100-SXM4-80GB") is of a model ("A100")."""
    words = driver_name.replace("-", " ").replace("_", " ").upper().split()
    joined = "".join(words)
    return wanted.upper() in words or (
        wanted.upper().startswith("RTX") and wanted.upper() in joined
    )
