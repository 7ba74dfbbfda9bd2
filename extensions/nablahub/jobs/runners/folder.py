"""A task's folder: the files by which the runner, the shim and a later life of the service agree.

Standard library only: the shim uses it. Every file is written whole (a new file is renamed over the
old one), so that a reader after a kill finds all of it or none.

============  =====================================================================================
launch.json   what the shim shall start, with host paths; the runner writes it
lock          held (flock) by the shim and the sandbox for as long as anything of the task lives
started       made once, before anything runs: the shim's pid, its start time, the boot, the port
sandbox       the sandbox's first process, before the command may run
cancel        that the task shall end, and how long it may take
status.json   the verdict; written last, when nothing of the task is left
log           what the command wrote to stdout and stderr
control/      seen by the command as /run/nablahub: `message` in it holds its last words
============  =====================================================================================
"""

from __future__ import annotations

import fcntl
import json
import os
from _thread import get_native_id
from pathlib import Path
from typing import Any

LAUNCH = "launch.json"
LOCK = "lock"
STARTED = "started"
SANDBOX = "sandbox"
CANCEL = "cancel"
STATUS = "status.json"
LOG = "log"
MESSAGE = "message"
RESERVE = ".reserve"
LOG_KEPT = 64 << 20
LOG_TAIL = 16 << 20
LOG_END = 1 << 20
LOG_CUT = b"\n[nablahub: the log is too long; what came next was cut out here]\n"


def write(folder: Path, name: str, content: dict[str, Any]) -> None:
    """Write one of the JSON files whole."""
    path = os.path.join(folder, name)  # noqa: PTH118 - as below
    new = os.path.join(folder, f".{name}.{os.getpid()}.{get_native_id()}")  # noqa: PTH118
    with open(new, "w", encoding="utf-8", opener=_private) as file:
        file.write(json.dumps(content))  # dump() would use the slow encoder.
    os.replace(new, path)  # noqa: PTH105 - done so often that pathlib's detours count


def trim_log(folder: Path) -> None:
    """Cut the middle out of a log that has become long, so that no job can fill the disk with it.

    The first LOG_KEPT bytes stay, and the last LOG_END; between LOG_TAIL may come before it is cut
    again. The command writes at the end of the file, wherever that is.
    """
    path = folder / LOG
    try:
        if path.stat().st_size <= LOG_KEPT + LOG_TAIL:
            return
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        kept = LOG_CUT + os.pread(fd, LOG_END, os.fstat(fd).st_size - LOG_END)
        os.pwrite(fd, kept, LOG_KEPT)
        os.ftruncate(fd, LOG_KEPT + len(kept))
    finally:
        os.close(fd)


def reserve(folder: Path) -> None:
    """Set room aside for the verdict: the command may fill the disk."""
    fd = os.open(folder / RESERVE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, 4096)
    finally:
        os.close(fd)


def write_last(folder: Path, name: str, content: dict[str, Any]) -> None:
    """Write one of the JSON files whole, into the room set aside when there is no other."""
    try:
        write(folder, name, content)
    except OSError:
        (folder / RESERVE).unlink(missing_ok=True)
        write(folder, name, content)
    (folder / RESERVE).unlink(missing_ok=True)


def read(folder: Path, name: str) -> dict[str, Any] | None:
    """Read one of the JSON files; None when it is not there or was torn by a loss of power."""
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as file:  # noqa: PTH118, PTH123
            content = json.load(file)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def take_lock(folder: Path) -> int | None:
    """Take the task's lock and return its descriptor; None when somebody has it."""
    fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def alive(folder: Path) -> bool:
    """Whether the shim or the sandbox still lives."""
    try:
        fd = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        # Shared, so that two who look at once do not take each other for the shim.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def wait_lock(folder: Path) -> None:
    """Block until neither the shim nor the sandbox lives."""
    fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
