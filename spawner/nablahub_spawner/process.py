"""A single-user server's process: known by more than its pid, and ended with all it started."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from nablahub.core import pids

#: Environment variable by which a server is found when nothing about it was written down.
MARK = "NABLAHUB_SERVER"
#: Environment variable that marks every process of one hub.
SESSION = "NABLAHUB_SESSION"

#: The shell that stays above a sandbox: bubblewrap ends with its parent, and the hub that started
#: a server must be able to die without it. It alone has the server's lock, as its standard input.
KEEPER = ("/bin/sh", "-c", '"$@" </dev/null; exit $?', "nablahub-server")
#: The same above a sandbox, which ends with it and so needs no mark to be found by. Code that knew
#: the marks could pass for a part of the hub, and bubblewrap's own variables can be read inside.
SANDBOX_KEEPER = (*KEEPER[:2], f"unset {SESSION} {MARK}; {KEEPER[2]}", KEEPER[3])


@dataclass(frozen=True)
class Identity:
    """Which process it is, even after its pid was given to another one.

    Parameters
    ----------
    pid : int
        Process id.
    started : int
        Start time in clock ticks since boot (proc_pid_stat(5), field 22).
    boot : str
        The kernel's id of this boot.
    """

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """Return the identity of a process, None when there is none with that pid."""
        started = _start_time(pid)
        return None if started is None else cls(pid, started, boot_id())

    @classmethod
    def load(cls, saved: Any) -> Identity | None:
        """Read what :meth:`save` gave; None for anything else."""
        try:
            return cls(int(saved["pid"]), int(saved["started"]), str(saved["boot"]))
        except (TypeError, KeyError, ValueError):
            return None

    def save(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)

    def alive(self) -> bool:
        """Whether that very process still runs."""
        return self.boot == boot_id() and _start_time(self.pid) == self.started


def boot_id() -> str:
    """Return the kernel's random id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _start_time(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # the second field is the program's name in brackets, and may contain anything
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def descendants(pid: int) -> list[psutil.Process]:
    """Return the processes below one, the nearest first; empty when it is gone."""
    try:
        found: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return found


def marked(mark: str) -> list[int]:
    """Return the pids of keepers whose environment carries that mark."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if wanted not in (entry / "environ").read_bytes().split(b"\0"):
                continue
            if KEEPER[-1].encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue  # gone meanwhile, or another user's
    return found


async def all_gone(wanted: Iterable[int], seconds: float) -> bool:
    """Wait until all of them have ended; False when the seconds were not enough."""
    results = await asyncio.gather(*(pids.gone(pid, seconds) for pid in wanted))
    return all(results)


async def stop(identity: Identity, *, patience: float) -> None:
    """End a server: ask it, then end its keeper, and with it everything it started.

    Parameters
    ----------
    identity : Identity
        The keeper.
    patience : float
        Seconds the server has to save what is open and end its kernels.
    """
    if not identity.alive():
        return
    below = descendants(identity.pid)
    servers = [p.pid for p in below if not _is_wrapper(p)][:1]
    for pid in servers:
        pids.send(pid, signal.SIGTERM)
    if not (servers and await pids.gone(identity.pid, patience)):
        pids.send(identity.pid, signal.SIGKILL)
        await pids.gone(identity.pid, 5)
    everything = {p.pid for p in below}
    if not await all_gone(everything, 2):
        for process in below:
            if process.is_running():  # the same process, not a new one with its pid
                pids.send(process.pid, signal.SIGKILL)
        await all_gone(everything, 5)


def _is_wrapper(process: psutil.Process) -> bool:
    try:
        return Path(process.exe()).name == "bwrap" or process.name() == "bwrap"
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return True
