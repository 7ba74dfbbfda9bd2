"""Reading what a task left in its folder, whichever runner started it."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

from nablahub.jobs.runners import folder as files
from nablahub.jobs.runners.notes import is_ours

_TAIL = 2048


def log_size(folder: Path) -> int:
    """The bytes of a task's log; 0 when there is none."""
    try:
        return os.stat(os.path.join(folder, files.LOG)).st_size  # noqa: PTH116, PTH118 - asked often
    except FileNotFoundError:
        return 0


def read_log(folder: Path, offset: int, limit: int) -> bytes:
    """Up to `limit` bytes of a task's log from `offset` on."""
    try:
        with (folder / files.LOG).open("rb") as log:
            log.seek(offset)
            return log.read(limit)
    except FileNotFoundError:
        return b""


def log_end(folder: Path) -> str:
    """The end of a task's log."""
    return read_log(folder, max(0, log_size(folder) - _TAIL), _TAIL).decode(errors="replace")


def last_words(folder: Path, said: str, exit_code: int | None) -> str:
    """What a command said last: its message, else, when it failed, the last line of its log."""
    if said or exit_code in (0, None):
        return said
    end = log_end(folder)
    lines = [each.strip() for each in end.splitlines() if each.strip() and not is_ours(each)]
    return lines[-1] if lines else ""


def small_file(path: Path) -> str:
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


def moment(seconds: float) -> datetime:
    """The moment of a Unix time."""
    return datetime.fromtimestamp(seconds, UTC)
