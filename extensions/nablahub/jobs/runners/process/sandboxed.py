"""What a sandbox says of itself, its gate, and its end.

Standard library only: the shim uses it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal


def open_gate(gate: int) -> None:
    """Let the command begin."""
    with contextlib.suppress(BrokenPipeError):  # It ended already.
        os.write(gate, b"\n")


def hold(pid: int) -> int | None:
    """Open a descriptor of a process; None when it has ended."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def kill_and_wait(pidfd: int) -> None:
    """End the process, with a sandbox's first one all that is in it, and see it go."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll()
    os.close(pidfd)


def child_pid(said: bytes) -> int | None:
    """Return the first process of the sandbox, as bwrap told it; None when it did not."""
    try:
        return int(json.loads(said)["child-pid"])
    except (ValueError, KeyError):
        return None


def first_line(fd: int) -> bytes:
    """What bwrap says first, up to its end of line; empty when it ends without a word."""
    said = b""
    while not said.endswith(b"\n"):
        part = os.read(fd, 4096)
        if not part:
            break
        said += part
    return said


def rest(fd: int) -> bytes:
    """What bwrap says until it and all of its sandbox have ended."""
    said = b""
    while part := os.read(fd, 4096):
        said += part
    os.close(fd)
    return said
