"""Instance types: Gradient's names with their numbers, and what this machine can give.

The numbers are those that Gradient listed (``vmTypes``, December 2025). A name is an opaque label:
an administrator may change its numbers or add others.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

GIB: Final = 1024**3
DEFAULT_INSTANCE: Final = "C4"


@dataclass(frozen=True)
class Gpu:
    """One graphics processor of a machine.

    Parameters
    ----------
    name : str
        As its driver calls it, such as ``"NVIDIA H200"``.
    memory_gib : float
        Its memory.
    """

    name: str
    memory_gib: float


@dataclass(frozen=True)
class Machine:
    """What a machine has in all.

    Parameters
    ----------
    cpus : int
        Processors that this process may use.
    memory_gib : float
        Main memory, or the container's limit when that is lower.
    gpus : tuple of Gpu
        Graphics processors.
    """

    cpus: int
    memory_gib: float
    gpus: tuple[Gpu, ...] = ()

    @classmethod
    def detect(cls) -> Machine:
        """Look at the machine we run on."""
        return cls(
            cpus=len(os.sched_getaffinity(0)), memory_gib=_memory_bytes() / GIB, gpus=_gpus()
        )


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
            need = _number(self.memory_gib)
            return f"Needs {need} GiB of memory; this machine has {machine.memory_gib:.1f} GiB."
        return None

    @property
    def summary(self) -> str:
        """One line for people, such as ``8 CPUs · 30 GiB · V100 16 GiB``."""
        parts = [f"{self.cpus} CPUs", f"{_number(self.memory_gib)} GiB"]
        if self.gpu is not None:
            count = f"{self.gpus} × " if self.gpus > 1 else ""
            parts.append(f"{count}{self.gpu} {_number(self.gpu_memory_gib)} GiB")
        return " · ".join(parts)


def _number(value: float) -> str:
    return f"{value:g}"


def _rows() -> Iterable[InstanceType]:
    yield InstanceType("Free-CPU", 2, 4, price=0)
    yield InstanceType("C3", 2, 2, price=0.018)
    yield InstanceType("C4", 2, 4)
    yield InstanceType("C5", 4, 8, price=0.08)
    yield InstanceType("C7", 12, 30, price=0.30)
    # label, GPU, its memory, CPUs and memory for each GPU, price, counts, labels of the free one
    series: list[
        tuple[str, str, float, int, float, float | None, tuple[int, ...], tuple[str, ...]]
    ] = [
        ("M4000", "M4000", 8, 8, 30, None, (), ("Free-GPU", "Free-GPU+")),
        ("P4000", "P4000", 8, 8, 30, 0.51, (1,), ("Free-P4000",)),
        ("P5000", "P5000", 16, 8, 30, 0.78, (1,), ("Free-P5000",)),
        ("P6000", "P6000", 24, 8, 30, 1.10, (1,), ()),
        ("RTX4000", "RTX4000", 8, 8, 30, 0.56, (1,), ("Free-RTX4000",)),
        ("RTX5000", "RTX5000", 16, 8, 30, 0.82, (1,), ("Free-RTX5000",)),
        ("V100", "V100", 16, 8, 30, 2.30, (1, 2, 4), ()),
        ("V100-32G", "V100", 32, 8, 30, None, (1, 2, 4), ()),
        ("A4000", "A4000", 16, 8, 45, 0.76, (1, 2, 4), ("Free-A4000",)),
        ("A5000", "A5000", 24, 8, 45, None, (1, 2, 4), ("Free-A5000",)),
        ("A6000", "A6000", 48, 8, 45, None, (1, 2, 4), ("Free-A6000",)),
        ("A100", "A100", 40, 12, 90, 3.09, (1, 2, 4, 8), ()),
        ("A100-80G", "A100", 80, 12, 90, None, (1, 2, 4, 8), ("Free-A100-80G",)),
    ]
    for label, gpu, vram, cpus, memory, price, counts, free in series:
        for name in free:
            yield InstanceType(name, cpus, memory, gpu, 1, vram, price=0)
        for count in counts:
            name = label if count == 1 else f"{label}x{count}"
            cost = price * count if price is not None else None
            yield InstanceType(name, cpus * count, memory * count, gpu, count, vram, price=cost)
    yield InstanceType("H100", 16, 250, "H100", 1, 80)
    yield InstanceType("H100x8", 128, 1638, "H100", 8, 80)


#: Every instance type by its name, the small ones first.
CATALOGUE: Final[Mapping[str, InstanceType]] = {row.name: row for row in _rows()}


def catalogue(
    custom: Mapping[str, Mapping[str, Any]] | None = None, names: Iterable[str] = ()
) -> dict[str, InstanceType]:
    """Return the instance types that a hub offers.

    Parameters
    ----------
    custom : mapping of str to mapping
        Numbers by name, added to the catalogue or put in place of it.
    names : iterable of str
        Only these, in this order; empty for all.

    Raises
    ------
    KeyError
        When a name is not in the catalogue.
    TypeError
        When custom numbers have a field that instance types lack.
    """
    found = dict(CATALOGUE)
    for name, fields in (custom or {}).items():
        if name in found:
            found[name] = replace(found[name], **fields)
        else:
            found[name] = InstanceType(name=name, **fields)
    wanted = list(names)
    return {name: found[name] for name in wanted} if wanted else found


def suggestion(
    machine: Machine, types: Mapping[str, InstanceType] = CATALOGUE
) -> InstanceType | None:
    """Return the biggest type without GPU that fits a machine, for messages that refuse one.

    Of several that are as big it is the default one.
    """
    fitting = [t for t in types.values() if t.fits(machine) is None and t.gpu is None]
    return max(
        fitting, key=lambda t: (t.cpus, t.memory_gib, t.name == DEFAULT_INSTANCE), default=None
    )


def _same_model(wanted: str, driver_name: str) -> bool:
    """Whether a driver's name ("NVIDIA A100-SXM4-80GB") is of a model ("A100")."""
    words = driver_name.replace("-", " ").replace("_", " ").upper().split()
    joined = "".join(words)
    return wanted.upper() in words or (
        wanted.upper().startswith("RTX") and wanted.upper() in joined
    )


def _memory_bytes() -> int:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in (
        Path("/sys/fs/cgroup/memory.max"),
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
    ):
        try:
            limit = path.read_text().strip()
        except OSError:
            continue
        if limit.isdigit():
            total = min(total, int(limit))
    return total


def _gpus() -> tuple[Gpu, ...]:
    """Ask NVIDIA's own tool, which is there wherever its driver is."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()  # a tool without a working driver: no GPU that work could use
    found = []
    for line in answer.stdout.splitlines():
        name, _, mebibytes = line.rpartition(",")
        if name and mebibytes.strip().isdigit():
            found.append(Gpu(name.strip(), int(mebibytes) / 1024))
    return tuple(found)
