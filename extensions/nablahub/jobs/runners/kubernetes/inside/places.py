"""Where the containers of a task's pod find what they share. Standard library only.

`SHARED` is an emptyDir that both containers see:

============  =====================================================================================
message       the command's last words for people, if it left any
log           what the command wrote to stdout and stderr
lock          held (flock) by the supervisor, so by the kernel until the last moment of its life
begun         made when the lock is held
ended.json    what became of the command; absent when the supervisor was killed
============  =====================================================================================
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

TASK = Path("/run/nablahub-task/task.json")
#: What brings out the log and the files is told; the command's container does not see it.
DELIVERY = Path("/run/nablahub-task/delivery.json")
#: A downwardAPI volume; the kubelet renews its file as soon as the pod's annotation changes.
#: https://kubernetes.io/docs/concepts/workloads/pods/downward-api/
WISHES = Path("/run/nablahub-wishes")
WISH = WISHES / "cancel"
#: Of a task of several nodes: there is something in it once all of them are there.
BEGIN = WISHES / "begin"
SHARED = Path("/run/nablahub")
LOG = SHARED / "log"
MESSAGE = SHARED / "message"
LOCK = SHARED / "lock"
BEGUN = SHARED / "begun"
ENDED = SHARED / "ended.json"
#: Where the folders of buckets lie that the task mounts; its command sees them by themselves.
BUCKETS = Path("/buckets")
#: What of them could not be brought back.
UNSAVED = BUCKETS / "unsaved.json"
#: The kubelet takes at most 4096 bytes of it into the pod's status.
#: https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/
TERMINATION = Path("/dev/termination-log")
TERMINATION_BYTES = 4096
#: What the first container ends with when a folder of a bucket cannot be mounted.
MOUNT = 3
#: What the container that brings everything out ends with when what is in /outputs can't be kept.
UNKEPT = 4

_IN_MODIFY, _IN_MOVED_TO, _IN_CREATE = 0x2, 0x80, 0x100
_PUNCH_HOLE_KEEP_SIZE = 0x2 | 0x1
_libc = ctypes.CDLL(None, use_errno=True)


def node() -> int:
    """Which of the task's nodes this is, from 0.

    https://kubernetes.io/docs/concepts/workloads/controllers/job/#completion-mode
    """
    return int(os.environ.get("JOB_COMPLETION_INDEX", "0"))


def watch(folder: Path) -> int:
    """A descriptor that becomes readable when something in a folder changes (inotify(7))."""
    fd: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    mask = _IN_MODIFY | _IN_MOVED_TO | _IN_CREATE
    if fd < 0 or _libc.inotify_add_watch(fd, os.fsencode(folder), mask) < 0:
        raise OSError(ctypes.get_errno(), "inotify", str(folder))
    return fd


def drain(fd: int) -> None:
    """Read what made a descriptor readable."""
    try:
        while os.read(fd, 65536):
            pass
    except BlockingIOError:
        return


def free(fd: int, until: int) -> None:
    """Give the room of a file's first bytes back to the disk; its size stays (fallocate(2))."""
    _libc.fallocate(fd, _PUNCH_HOLE_KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(until))


def count_in(name: str, *paths: str) -> int | None:
    """The number behind a word in the first of some files of a control group; None: not there."""
    for path in paths:
        try:
            words = Path(path).read_text(encoding="ascii").split()
        except OSError:
            continue
        if len(words) == 1 and not name:
            return int(words[0])
        if name in words[:-1]:
            return int(words[words.index(name) + 1])
    return None


def oom_kills() -> int:
    """How many processes of this container the kernel killed for want of memory."""
    # cgroup v2, then v1: https://docs.kernel.org/admin-guide/cgroup-v2.html#memory
    found = count_in(
        "oom_kill", "/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"
    )
    return found or 0


def peak_memory() -> int | None:
    """The most memory that this container used, in bytes."""
    return count_in(
        "", "/sys/fs/cgroup/memory.peak", "/sys/fs/cgroup/memory/memory.max_usage_in_bytes"
    )
