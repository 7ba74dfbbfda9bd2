"""The process that becomes a task's sandbox: forked ahead, it waits to be told what to become.

Standard library only: it is a fork of the shim.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

from nablahub.jobs.runners import folder as files
from nablahub.jobs.runners.process.limits import Group

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Body:
    """A child of the shim, in the task's control group, that has not begun yet.

    Parameters
    ----------
    group
        The control group it joins at once, if there is one.
    orders
        The shim's socket, which it must not hold open: it may live a moment longer than the shim.
    """

    def __init__(self, group: Group | None, orders: socket.socket) -> None:
        self._ours, theirs = socket.socketpair()
        shim = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            self._ours.close()
            orders.close()
            _wait_and_become(theirs, group, shim)
        theirs.close()

    def become(self, folder: Path, launch: dict[str, Any], fds: tuple[int, int, int]) -> None:
        """Tell it what to run.

        Parameters
        ----------
        folder
            The task's folder; its log is written there.
        launch
            The content of launch.json.
        fds
            Where the sandbox tells its status, the gate at which it waits before its command
            begins, and the lock it holds.
        """
        with contextlib.suppress(BrokenPipeError):  # It was killed; waiting for it will tell.
            socket.send_fds(self._ours, [b"."], list(fds))
            self._ours.sendall(json.dumps({"folder": str(folder), **launch}).encode())
        self._ours.close()

    def give_up(self) -> None:
        """End it: there is no task for it."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def _wait_and_become(told: socket.socket, group: Group | None, shim: int) -> None:
    """Run in the child; never returns."""
    name = "the sandbox"
    try:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != shim:
            os._exit(1)
        os.setsid()  # By its session whatever comes of it is found, should the shim be killed.
        if group is not None:
            with contextlib.suppress(OSError):  # The limit is then kept by looking.
                group.join()
        _, fds, _, _ = socket.recv_fds(told, 1, 3)
        said = b""
        while part := told.recv(1 << 20):
            said += part
        if len(fds) != 3:
            os._exit(1)  # The shim ended without a task.
        launch = json.loads(said)
        name = launch["argv"][0]
        _become(launch, fds)
    except OSError as error:
        os.write(2, f"nablahub: {name}: {error.strerror}\n".encode())
    except BaseException as error:  # noqa: BLE001 - a fork must never return to the caller
        os.write(2, f"nablahub: {error!r}\n".encode())
    os._exit(127)


def _become(launch: dict[str, Any], fds: list[int]) -> None:
    log = os.open(
        Path(launch["folder"]) / files.LOG,
        os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC,
        0o600,
    )
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    for number, fd in ((0, null), (1, log), (2, log)):
        os.dup2(fd, number)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    if launch["cpus"]:
        os.sched_setaffinity(0, launch["cpus"])
    argv: list[str] = launch["argv"]
    if launch["sandboxed"]:
        status, gate, lock = fds
        for fd in (status, gate, lock):
            os.set_inheritable(fd, True)
        options = ("--json-status-fd", status, "--sync-fd", lock, "--block-fd", gate)
        argv = [argv[0], *map(str, options), *argv[1:]]
    else:
        for fd in fds:
            os.set_inheritable(fd, False)
        os.chdir(launch["cwd"])
    os.execve(argv[0], argv, launch["env"])  # noqa: S606 - this is the one door
