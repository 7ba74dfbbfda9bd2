"""Ending everything of a state folder, when NablaHub goes down."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from pathlib import Path

from nablahub.core.state import StateDir
from nablahub.jobs.runners import folder as files
from nablahub.jobs.runners.process import launcher, procfs
from nablahub.jobs.runners.process.runner import ask_to_end
from nablahub.storage.mounting.mounts import unmount_all

SHUTDOWN = "NablaHub was shut down."
_GRACE = 5.0
_LOOK_SECONDS = 0.02


def end_all(state: StateDir, timeout: float = 15.0) -> list[str]:
    """End every job of a state folder and the launcher; the service must have stopped.

    Parameters
    ----------
    state
        The state folder.
    timeout
        Seconds to wait for jobs that are asked to end; they are killed after five.

    Returns
    -------
    list of str
        The jobs that ran. Their verdict is `cancelled`, with the words "NablaHub was shut down.".
    """
    _end_launcher(state.run)  # First: nothing new starts.
    folders = list(state.jobs.iterdir()) if state.jobs.is_dir() else []
    running = [folder for folder in folders if files.alive(folder)]
    for folder in running:
        ask_to_end(folder, min(_GRACE, timeout / 2), SHUTDOWN)
    deadline = time.monotonic() + timeout
    for folder in running:
        while files.alive(folder) and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
    unmount_all(state.mounts)
    unmount_all(state.server_mounts)
    return [folder.name for folder in running]


def _end_launcher(run: Path) -> None:
    try:
        pid = int((run / launcher.PID).read_text())
    except (FileNotFoundError, ValueError):
        return
    command = Path(f"/proc/{pid}/cmdline")
    with contextlib.suppress(OSError):
        # The id may have been used again since.
        if str(run).encode() in command.read_bytes() and procfs.start_time(pid) is not None:
            pidfd = os.pidfd_open(pid)
            try:
                signal.pidfd_send_signal(pidfd, signal.SIGTERM)
                select.select([pidfd], [], [], _GRACE)
            finally:
                os.close(pidfd)
