"""What the machine that we run on has."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

GIB: Final = 1024**3


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
