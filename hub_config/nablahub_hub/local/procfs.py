"""Finding our own processes in /proc: by the marks that ``up`` puts into their environment."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nablahub.core.pids import gone, send

#: Marks every process of one state directory.
SESSION = "NABLAHUB_SESSION"
#: Names the supervised process; its value is the name and a fingerprint of how it was started.
ROLE = "NABLAHUB_ROLE"
#: The supervised processes, and a word that only their own command line has.
PARTS: Mapping[str, str] = {
    "traefik": "--configfile=",
    "hub": "nablahub_hub.local.hub",
    "service": "nablahub.service",
}


@dataclass(frozen=True)
class Found:
    """A process of ours.

    Parameters
    ----------
    pid : int
        Its id.
    role : str
        What it was started as, with the fingerprint; empty for what others of ours started.
    leader : bool
        Whether it leads its session, which only the supervised ones and jobs' parents do.
    argv : tuple of str
        Its command line.
    """

    pid: int
    role: str
    leader: bool
    argv: tuple[str, ...]


def processes(session: str) -> Iterator[Found]:
    """Yield every live process that carries a session's mark (never this one itself)."""
    wanted = f"{SESSION}={session}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environ = (entry / "environ").read_bytes().split(b"\0")
            if wanted not in environ:
                continue
            argv = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
            sid = os.getsid(int(entry.name))
        except (OSError, ValueError):
            continue  # gone meanwhile, or another user's
        role = next(
            (v[len(ROLE) + 1 :] for v in environ if v.startswith(ROLE.encode() + b"=")), b""
        )
        leads = sid == int(entry.name)
        # Code in a sandbox may set this to anything, also to what is no text.
        yield Found(int(entry.name), role.decode(errors="replace"), leads, tuple(argv))


def parts(found: Iterable[Found]) -> dict[str, int]:
    """Return the pids of the supervised processes among those found, by name.

    What they started may carry their mark too, and lead a session; its command line tells.
    """
    return {
        name: process.pid
        for process in found
        for name, word in PARTS.items()
        if process.leader
        and process.role.startswith(f"{name}:")
        and any(word in argument for argument in process.argv)
    }


def holders(port: int) -> set[int]:
    """Return the inodes of sockets that listen on a port of the loopback address (proc(5))."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(int(fields[9]))
    return found


def descriptors(pid: int, inodes: set[int]) -> list[int]:
    """Return under which numbers a process has sockets of those inodes open."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    found = []
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            if str(entry.readlink()) in wanted:
                found.append(int(entry.name))
    except OSError:
        return found  # it has ended, or closes some just now
    return found


def holds(pid: int, inodes: set[int]) -> bool:
    """Whether a process has one of those sockets open."""
    return bool(descriptors(pid, inodes))


async def end(pids: Iterable[int], *, patience: float) -> None:
    """End processes: SIGTERM, then SIGKILL for those that are there after some seconds."""
    todo = list(pids)
    for pid in todo:
        send(pid, signal.SIGTERM)
    ended = await asyncio.gather(*(gone(pid, patience) for pid in todo))
    still = [pid for pid, done in zip(todo, ended, strict=True) if not done]
    for pid in still:
        send(pid, signal.SIGKILL)
    await asyncio.gather(*(gone(pid, 5) for pid in still))
