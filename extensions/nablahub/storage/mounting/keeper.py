"""The process that keeps one FUSE mount: rclone, and what guards where it may connect to.

It is no child of the service and outlives it, as jobs do. The keys come by its standard input, so
that they are neither in a file nor among the arguments; they never enter a sandbox, which has
process ids of its own. When the keeper is killed the kernel ends rclone with it.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from nablahub.core.guard import Guard

_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Run rclone until its mount is gone; the order is read from standard input."""
    order: dict[str, Any] = json.load(sys.stdin)
    lock = os.open(Path(order["folder"]) / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0  # It is kept already.
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())  # Good for as long as the lock is held.
    guard = Guard()
    env: dict[str, str] = order["env"]
    if order["guarded"]:
        # Not by HTTP_PROXY, which Go passes over for loopback addresses.
        env["RCLONE_HTTP_PROXY"] = guard.url
    libc = ctypes.CDLL(None)

    def die_with_keeper() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    with (Path(order["folder"]) / "log").open("ab") as log:
        # The guard's thread only waits in accept() by now: a fork is safe.
        rclone = subprocess.Popen(
            order["argv"], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            preexec_fn=die_with_keeper,
        )  # fmt: skip
    signal.signal(signal.SIGTERM, lambda *_: rclone.terminate())
    try:
        return rclone.wait()
    finally:
        guard.close()


if __name__ == "__main__":
    sys.exit(main())
