"""What the files of a task's folder say about it."""

from __future__ import annotations

import os
import select
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nablahub.jobs.runners import folder as files
from nablahub.jobs.runners.contract import TaskStatus
from nablahub.jobs.runners.process import procfs
from nablahub.jobs.runners.process.limits import remove_group
from nablahub.jobs.runners.reading import last_words, moment, small_file

_LOST = "The process that ran it was killed, and what it was doing ended with it."


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
            return TaskStatus("running", address=address, started_at=moment(mark["at"]))
        # The verdict is written before the lock goes: look once more, now that the lock is gone.
        status = files.read(folder, files.STATUS) or _declare_lost(folder, mark)
    return TaskStatus(
        "ended",
        verdict=status["verdict"],
        exit_code=status["exit_code"],
        message=status["message"],
        last_words=last_words(
            folder, small_file(folder / "control" / files.MESSAGE), status["exit_code"]
        ),
        started_at=moment(status["started_at"]),
        finished_at=moment(status["finished_at"]),
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
