"""What /proc tells about processes (proc(5)). Standard library only: the shim uses it."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")


@functools.cache
def boot_id() -> str:
    """The identifier of this boot of the machine; process ids mean nothing across boots."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks after boot (field 22 of stat); None when it is gone.

    With the process id and the boot's id it names a process for ever, since ids are used again.
    """
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    if fields[0] in (b"Z", b"X"):
        return None
    return int(fields[19])


def session(leader: int) -> list[int]:
    """The living processes of the session that a process began."""
    found: list[int] = []
    for path in _PROC.iterdir():
        if path.name.isdigit():
            try:
                stat = (path / "stat").read_bytes()
            except OSError:
                continue
            fields = stat[stat.rindex(b")") + 2 :].split()
            if int(fields[3]) == leader and fields[0] not in (b"Z", b"X"):
                found.append(int(path.name))
    return found


def children(pid: int) -> list[int]:
    """The living children of a process, of all its threads; empty when it is gone."""
    found: list[int] = []
    try:
        threads = list((_PROC / str(pid) / "task").iterdir())
    except OSError:
        return []
    for thread in threads:
        try:
            found += [int(word) for word in (thread / "children").read_bytes().split()]
        except FileNotFoundError:
            if not thread.exists():
                continue
            return _children_by_parent(pid)
        except OSError:
            continue
    return found


def _children_by_parent(pid: int) -> list[int]:
    """`children` for kernels built without CONFIG_PROC_CHILDREN: read every process."""
    found: list[int] = []
    for path in _PROC.iterdir():
        if not path.name.isdigit():
            continue
        try:
            stat = (path / "stat").read_bytes()
        except OSError:
            continue
        if int(stat[stat.rindex(b")") + 2 :].split()[1]) == pid:
            found.append(int(path.name))
    return found


def descendants(pid: int) -> Iterator[int]:
    """Every living process below `pid`, parents before their children.

    Below the first process of a sandbox these are all of the sandbox's, since it inherits orphans.
    """
    todo = children(pid)
    seen = {pid}
    while todo:
        found = todo.pop()
        if found not in seen:
            seen.add(found)
            yield found
            todo += children(found)


def memory(pids: list[int], limit: int) -> int:
    """Bytes of memory that processes use together.

    The cheap sum counts memory that forked processes share once for each of them, so when it says
    that `limit` is passed the shared part is divided among its users (smaps_rollup's Pss).
    """
    page = os.sysconf("SC_PAGE_SIZE")
    total = 0
    for pid in pids:
        try:
            total += int((_PROC / str(pid) / "statm").read_bytes().split()[1]) * page
        except (OSError, IndexError):
            continue
    return total if total <= limit else sum(_proportional(pid) for pid in pids)


def _proportional(pid: int) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_bytes().splitlines()
    except OSError:
        return 0  # It ended since, or is not ours to read.
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(b"Pss:"))


def kill_all(pids: list[int], number: signal.Signals) -> None:
    """Send a signal to each of the processes that still live."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
