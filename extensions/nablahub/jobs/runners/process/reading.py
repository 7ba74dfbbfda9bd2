"""What the files of a task's folder say about it."""

from __future__ import annotations

import os
import select
import signal
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nablahub.jobs.runners.contract import TaskStatus
from nablahub.jobs.runners.process import folder as files
from nablahub.jobs.runners.process import procfs
from nablahub.jobs.runners.process.limits import remove_group

_LOST = "The process that ran it was killed, and what it was doing ended with it."
_TAIL = 2048


def shim_of(mark: dict[str, Any] | None) -> int | None:
    """A descriptor of the shim's process; None when it is gone, its id perhaps used again."""
    if mark is None or mark["boot"] != procfs.boot_id():
        return None
    try:
        pidfd = os.pidfd_open(mark["pid"])
    except ProcessLookupError:
        return None
    if procfs.start_time(mark["pid"]) != mark["start_time"]:
        os.close(pidfd)
        return None
    return pidfd


def read_status(folder: Path) -> TaskStatus:
    """What became of the task in a folder; blocks while the last of a killed one goes."""
    status = files.read(folder, files.STATUS)
    if status is None:
        mark = files.read(folder, files.STARTED)
        if mark is None:
            # No mark: nothing ran, and nothing will before it is started again.
            return TaskStatus("absent")
        if files.alive(folder):
            address = f"http://127.0.0.1:{mark['port']}" if "port" in mark else None
            return TaskStatus("running", address=address, started_at=_moment(mark["at"]))
        # The verdict is written before the lock goes: look once more, now that the lock is gone.
        status = files.read(folder, files.STATUS) or _declare_lost(folder, mark)
    return TaskStatus(
        "ended",
        verdict=status["verdict"],
        exit_code=status["exit_code"],
        message=status["message"],
        last_words=_last_words(folder, status),
        started_at=_moment(status["started_at"]),
        finished_at=_moment(status["finished_at"]),
        peak_memory_bytes=status["peak_memory"],
    )


def settle(folder: Path) -> None:
    """End what a killed shim left, and wait until it is gone; blocks for some milliseconds.

    The kernel ends a sandbox with its shim, but for some moments of the sandbox's birth in which
    it has not asked for that yet. One that still waits for its own parent is found by its session;
    later its first process is known before its command may begin, and a command whose gate was
    never opened ends by itself.
    """
    mark = files.read(folder, files.STARTED)
    if mark is not None and mark["boot"] == procfs.boot_id():
        # An id is not given again while its session lives: another start time means it is gone.
        ours = procfs.start_time(mark["body"]) in (None, mark["body_start_time"])
        procfs.kill_all(procfs.session(mark["body"]) if ours else [], signal.SIGKILL)
    sandbox = files.read(folder, files.SANDBOX)
    if sandbox is not None and sandbox["boot"] == procfs.boot_id():
        try:
            pidfd = os.pidfd_open(sandbox["pid"])
        except ProcessLookupError:
            pidfd = None
        if pidfd is not None:
            try:
                if procfs.start_time(sandbox["pid"]) == sandbox["start_time"]:
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                    select.select([pidfd], [], [])
            except ProcessLookupError:
                pass  # It ended by itself just now.
            finally:
                os.close(pidfd)
    files.wait_lock(folder)


def _declare_lost(folder: Path, mark: dict[str, Any]) -> dict[str, Any]:
    """Write the verdict for a task whose shim was killed."""
    settle(folder)
    if mark.get("group"):
        remove_group(Path(mark["group"]))
    status = {
        "verdict": "lost",
        "message": _LOST,
        "exit_code": None,
        "started_at": mark["at"],
        "finished_at": datetime.now(UTC).timestamp(),
        "peak_memory": None,
    }
    files.write(folder, files.STATUS, status)
    return status


def read_log(folder: Path, offset: int, limit: int) -> bytes:
    """Up to `limit` bytes of a task's log from `offset` on."""
    try:
        with (folder / files.LOG).open("rb") as log:
            log.seek(offset)
            return log.read(limit)
    except FileNotFoundError:
        return b""


def _last_words(folder: Path, status: dict[str, Any]) -> str:
    said = _small_file(folder / "control" / files.MESSAGE)
    if said or status["exit_code"] in (0, None):
        return said
    try:
        size = (folder / files.LOG).stat().st_size
    except FileNotFoundError:
        return ""
    end = read_log(folder, max(0, size - _TAIL), _TAIL).decode(errors="replace")
    lines = [line.strip() for line in end.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _small_file(path: Path) -> str:
    """The first 2 KiB of a text that a user's code wrote: no link, no pipe, or nothing."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return ""
        return os.read(fd, _TAIL).decode(errors="replace").strip()
    finally:
        os.close(fd)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
