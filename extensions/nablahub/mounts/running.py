"""Whether a notebook server of this machine runs: by a lock that only lives as long as it does.

The spawner takes the lock and hands it to the process that stays above the server. So the kernel
itself tells when a server has ended, however it did, and whoever else was dead meanwhile.
Standard library only.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_LOCK: Final = "lock"


@contextmanager
def begun(folder: Path) -> Iterator[int]:
    """Take the lock of a server that is about to be started, for whom it is handed to."""
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)  # Who looks has it for an instant.
        yield lock
    finally:
        os.close(lock)


def note(lock: int, pid: int) -> None:
    """Write down who has the lock now."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(pid).encode(), 0)


def keeper(folder: Path) -> int | None:
    """Return the process above a server; None when it does not run here."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.pread(lock, 32, 0) or b"0")
    finally:
        os.close(lock)
    return None


def wait(folder: Path) -> None:
    """Block until the server has ended."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
    finally:
        os.close(lock)
