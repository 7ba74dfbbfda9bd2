"""Memory limits without root: a control group where one may be made, else sampling.

Standard library only: the shim uses it. Formats: cgroups(7), the kernel's
Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nablahub.jobs.runners.process import procfs

SAMPLE_SECONDS = 0.1
_PREFIX = "nablahub-"
_REMOVE_SECONDS = 2.0


class MemoryLimit(Protocol):
    """Holds a task to its memory and tells whether it went over."""

    wake_fd: int | None
    """Becomes readable when the kernel ran out of the limit; None when one must look."""
    interval: float | None
    """Seconds between looks; None when `wake_fd` tells."""

    def exceeded(self, root: int) -> bool:
        """Whether the processes below `root` used more than they may."""

    def peak(self) -> int | None:
        """The most memory used so far, in bytes, if known."""

    def close(self) -> None:
        """Remove what was made outside; the task's processes are gone by now."""


class Sampled:
    """Adds up the memory of the task's processes now and then: the way that needs no right."""

    wake_fd: int | None = None

    def __init__(self, limit: int) -> None:
        self.interval: float | None = SAMPLE_SECONDS
        self._limit = limit
        self._peak = 0

    def exceeded(self, root: int) -> bool:
        """Compare the sum with the limit; look again sooner the nearer it is."""
        used = procfs.memory(list(procfs.descendants(root)), self._limit)
        self._peak = max(self._peak, used)
        self.interval = SAMPLE_SECONDS if used < self._limit / 2 else SAMPLE_SECONDS / 4
        return used > self._limit

    def peak(self) -> int | None:
        """The largest sum seen; None when the task ended before the first look."""
        return self._peak or None

    def close(self) -> None:
        """Nothing was made."""


class CgroupV2:
    """A control group of the unified hierarchy; the kernel kills the group as one."""

    wake_fd: int | None = None
    interval: float | None = None
    LIMIT = "memory.max"

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        _write(folder / self.LIMIT, str(limit))
        # Without these two it would swap for long, or lose one process and go on without it.
        _write_if_there(folder / "memory.swap.max", "0")
        _write_if_there(folder / "memory.oom.group", "1")

    def exceeded(self, root: int) -> bool:
        """Whether the kernel killed for the limit."""
        return _field(self.folder / "memory.events", "oom_kill") > 0

    def peak(self) -> int | None:
        """memory.peak, from Linux 5.19 on."""
        return _number(self.folder / "memory.peak")

    def close(self) -> None:
        """Remove the group."""
        remove_group(self.folder)


class CgroupV1:
    """A control group of the older memory hierarchy; it tells of an exhausted limit by an eventfd.

    The kernel may kill one process of several, and the rest would go on without it: the caller ends
    the whole task when `exceeded`, which therefore counts kills and not the exit status.
    """

    interval: float | None = None
    LIMIT = "memory.limit_in_bytes"

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        _write(folder / self.LIMIT, str(limit))
        _write_if_there(folder / "memory.memsw.limit_in_bytes", str(limit))
        self.wake_fd: int | None = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        with (folder / "memory.oom_control").open("rb") as control:
            _write(folder / "cgroup.event_control", f"{self.wake_fd} {control.fileno()}")

    def exceeded(self, root: int) -> bool:
        """Whether the kernel killed for the limit."""
        return _field(self.folder / "memory.oom_control", "oom_kill") > 0

    def peak(self) -> int | None:
        """memory.max_usage_in_bytes."""
        return _number(self.folder / "memory.max_usage_in_bytes")

    def close(self) -> None:
        """Remove the group."""
        if self.wake_fd is not None:
            os.close(self.wake_fd)
        remove_group(self.folder)


@dataclass(frozen=True)
class Group:
    """An empty control group, made before it is known what will run in it.

    Joining one waits for the kernel's readers of process groups, ten milliseconds on a quiet
    machine: so it is done ahead.

    Parameters
    ----------
    folder
        Its folder in the hierarchy.
    kind
        The class that sets its limit.
    """

    folder: Path
    kind: type[CgroupV1] | type[CgroupV2]

    def join(self) -> None:
        """Move the calling process in, and with it all it will fork."""
        _write(self.folder / "cgroup.procs", "0")


def make_group(name: str) -> Group | None:
    """Make the strongest control group that may be made here; None when there is none."""
    for parent, kind in candidates():
        folder = parent / name
        try:
            folder.mkdir()
        except OSError:
            continue
        if os.access(folder / kind.LIMIT, os.W_OK):
            return Group(folder, kind)
        remove_group(folder)
    return None


def group_name() -> str:
    """A name for the group of the calling process's task: nobody else ever has it."""
    return f"{_PREFIX}{os.getpid()}-{procfs.start_time(os.getpid())}"


def sweep_groups() -> None:
    """Remove the groups of processes that were killed and could not remove them."""
    for parent, _ in candidates():
        for folder in parent.glob(f"{_PREFIX}*-*"):
            pid, _, start = folder.name.removeprefix(_PREFIX).partition("-")
            if pid.isdigit() and str(procfs.start_time(int(pid))) != start:
                with contextlib.suppress(OSError):  # Somebody is still in it.
                    folder.rmdir()


def limit_memory(group: Group | None, limit: int) -> MemoryLimit:
    """Hold a task to `limit` bytes, in its group when it has one."""
    if group is not None:
        try:
            return group.kind(group.folder, limit)
        except OSError:
            return Sampled(limit)  # Its limit cannot be set: look at it instead.
    return Sampled(limit)


def describe() -> str:
    """Which limit holds on this machine, for people."""
    group = make_group(f"nablahub-try-{os.getpid()}")
    if group is not None:
        remove_group(group.folder)
        version = 2 if group.kind is CgroupV2 else 1
        return f"by the kernel (control groups version {version}, {group.folder.parent})"
    return "by looking every 0.1 s and ending the job (no control group may be made here)"


def candidates() -> list[tuple[Path, type[CgroupV1] | type[CgroupV2]]]:
    """Folders under which a group with a memory limit might be made, best first."""
    mounts = _mounts()
    found: list[tuple[Path, type[CgroupV1] | type[CgroupV2]]] = []
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0" and "v2" in mounts:
            own = mounts["v2"] / path.lstrip("/")
            # A group with processes of its own cannot have limited children; its parent can.
            found += [(own, CgroupV2), (own.parent, CgroupV2)]
        elif "memory" in controllers.split(",") and "v1" in mounts:
            found.append((mounts["v1"] / path.lstrip("/"), CgroupV1))
    return found


def _mounts() -> dict[str, Path]:
    """Where the unified hierarchy ("v2") and the older memory one ("v1") are mounted."""
    found: dict[str, Path] = {}
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return {}
    for line in lines:
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        where = Path(before.split(" ")[4])
        if kind == "cgroup2":
            found.setdefault("v2", where)
        elif kind == "cgroup" and "memory" in options.split(" ")[-1].split(","):
            found.setdefault("v1", where)
    return found


def remove_group(folder: Path) -> None:
    """Remove a control group once its last process is gone; the kernel says busy until then."""
    deadline = time.monotonic() + _REMOVE_SECONDS
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                return
            time.sleep(0.005)
        else:
            return


def _write(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _write_if_there(path: Path, text: str) -> None:
    try:
        _write(path, text)
    except OSError:
        return


def _field(path: Path, name: str) -> int:
    try:
        for line in path.read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    except (OSError, ValueError):
        pass
    return 0


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
