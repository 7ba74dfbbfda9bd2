"""The first process of a task's container: the command's parent, and the only one who says how it
ended. Standard library only.

It says so in the container's termination message, so that the verdict is part of the pod's status
whatever becomes of the service meanwhile. When it is killed there is no message, and the verdict is
`lost`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path, PurePosixPath
from typing import Any

from nablahub.jobs.runners.kubernetes.inside import nodes, places

_WORK = "/work"
_NOT_FOUND = 127
_SAID_BYTES = 1500
#: Bytes; a disk with less of them free is full.
_ROOM = 1 << 16
#: For how long the names of all nodes are looked up before the command begins, and how often.
_DNS_SECONDS, _DNS_PAUSE = 5.0, 0.1
_DEFAULTS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD)


class Supervisor:
    """Runs one command and tells what became of it.

    Parameters
    ----------
    task
        The content of `task.json`: command, env, files, timeout, grace, the nodes' names.
    """

    def __init__(self, task: dict[str, Any]) -> None:
        self.task = task
        self.verdict: str | None = None
        self.message = ""
        self.code: int | None = None
        self._pid: int | None = None
        self._asked_from_outside = False
        self._kill_at: float | None = None
        self._grace = float(task["grace"])
        self._names: list[str] = task["nodes"]
        self._started = time.time()

    def run(self) -> int:
        """Run the command and return what the container shall exit with."""
        wake, put = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(put, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._asked)
        lock = os.open(places.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        wishes = places.watch(places.WISHES)
        log = os.open(places.LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        places.BEGUN.touch()
        if not self._cancelled() and self._lay_files() and self._all_there(wake, wishes):
            self._spawn(log)
        self._wait(wake, wishes)
        _kill_rest()
        if self.code and self.verdict is None and places.oom_kills():
            self.verdict = "oom"
            gib = self.task["memory"] / 1024**3 if self.task["memory"] else 0
            self.message = f"It needed more memory than its limit of {gib:g} GiB."
        if self.code and self.verdict is None:
            self.message = no_room(self.task["places"])
        self._report()
        return 1 if self.code is None else self.code

    def _lay_files(self) -> bool:
        for name, text in self.task["files"].items():
            target = Path(_WORK) / PurePosixPath(name)
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")
            except OSError as error:
                self.verdict = "start"
                self.message = f"The file {name!r} cannot be laid into /work: {error.strerror}."
                return False
        return True

    def _all_there(self, wake: int, wishes: int) -> bool:
        """Wait until all nodes of the task are there; False when it shall end before."""
        if not self._names:
            return True
        while not _said_to_begin():
            if self._cancelled() or self._lost():
                return False
            for fd in select.select([wake, wishes], [], [])[0]:
                places.drain(fd)
        # DNS knows each soon after it is there; who has ended already is not waited for long.
        until = time.monotonic() + _DNS_SECONDS
        missing = [name for name in self._names if not nodes.resolve(name)]
        while missing and time.monotonic() < until:
            if self._cancelled() or self._lost():
                return False
            for fd in select.select([wake, wishes], [], [], _DNS_PAUSE)[0]:
                places.drain(fd)
            missing = [name for name in missing if not nodes.resolve(name)]
        return True

    def _spawn(self, log: int) -> None:
        env: dict[str, str] = self.task["env"]
        if self._names:
            env = {**nodes.variables(places.node(), self._names), **env}
        command: list[str] = self.task["command"]
        os.chdir(_WORK)
        program = shutil.which(command[0], path=env.get("PATH"))
        if program is None:
            os.write(log, f"nablahub: {command[0]}: not found\n".encode())
            self.code = _NOT_FOUND
            return
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        moves = [(os.POSIX_SPAWN_DUP2, fd, n) for n, fd in ((0, null), (1, log), (2, log))]
        try:
            # Not fork and exec: until it is the command no signal reaches a handler of ours in it.
            self._pid = os.posix_spawn(
                program, command, env, file_actions=moves, setsid=True, setsigdef=_DEFAULTS
            )
        except OSError as error:
            os.write(log, f"nablahub: {command[0]}: {error.strerror}\n".encode())
            self.code = _NOT_FOUND

    def _wait(self, wake: int, wishes: int) -> None:
        timeout = self.task["timeout"]
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._pid is not None:
            self._reap()
            if self.code is not None:
                return
            now = time.monotonic()
            if self._kill_at is None:
                if self._cancelled() or self._lost():
                    self._ask_to_end()
                elif deadline is not None and now >= deadline:
                    self.verdict = "timeout"
                    self.message = f"It ran longer than its limit of {timeout:g} s."
                    self._ask_to_end()
            elif now >= self._kill_at:
                _signal_all(signal.SIGKILL)
                self._kill_at = float("inf")
            until = deadline if self._kill_at is None else self._kill_at
            patience = None if until in (None, float("inf")) else max(until - now, 0.0)
            for fd in select.select([wake, wishes], [], [], patience)[0]:
                places.drain(fd)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._pid:
                    code = os.waitstatus_to_exitcode(status)
                    self.code = code if code >= 0 else 128 - code

    def _cancelled(self) -> bool:
        try:
            wish = json.loads(places.WISH.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        self.verdict, self.message = "cancelled", wish["message"]
        self._grace = float(wish["grace"])
        return True

    def _lost(self) -> bool:
        if self._asked_from_outside:
            self.verdict = "lost"
            self.message = (
                "It was killed: its pod was deleted, or its node was drained or shut down."
            )
        return self._asked_from_outside

    def _asked(self, *_: object) -> None:
        self._asked_from_outside = True

    def _ask_to_end(self) -> None:
        self._kill_at = time.monotonic() + self._grace
        _signal_all(signal.SIGTERM)

    def _report(self) -> None:
        exit_code = None if self.verdict in ("lost", "start") else self.code
        said = _said()
        report = {
            "verdict": self.verdict or "code",
            "message": self.message,
            "exit_code": exit_code,
            "started_at": self._started,
            "finished_at": time.time(),
            "peak_memory": places.peak_memory(),
            "said": said,
        }
        text = json.dumps(report, ensure_ascii=False).encode()
        while len(text) > places.TERMINATION_BYTES and report["said"]:
            report["said"] = str(report["said"])[: len(str(report["said"])) // 2]
            text = json.dumps(report, ensure_ascii=False).encode()
        places.TERMINATION.write_bytes(text)
        new = places.ENDED.with_suffix(".new")
        new.write_bytes(text)
        new.replace(places.ENDED)


def no_room(folders: list[str]) -> str:
    """A sentence about those of some folders whose disk is full; empty when none is."""
    full = [folder for folder in folders if _free(folder) < _ROOM]
    return f"There is no room left in {', '.join(full)}." if full else ""


def _free(folder: str) -> float:
    """The free bytes of a folder's disk; without end where nobody counts them."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return math.inf
    return found.f_bavail * found.f_frsize if found.f_blocks else math.inf


def _said_to_begin() -> bool:
    try:
        return bool(places.BEGIN.read_bytes())
    except OSError:
        return False


def _said() -> str:
    try:
        fd = os.open(places.MESSAGE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, _SAID_BYTES).decode(errors="replace").strip()
    except OSError:
        return ""  # A folder.
    finally:
        os.close(fd)


def _signal_all(number: signal.Signals) -> None:
    """Signal every other process of the container; we are the first of its process namespace."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, number)


def _kill_rest() -> None:
    """End what the command left behind, and wait until it is gone."""
    while True:
        _signal_all(signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def main() -> int:
    """Be the first process of the container."""
    os.umask(0o077)
    return Supervisor(json.loads(places.TASK.read_text(encoding="utf-8"))).run()


if __name__ == "__main__":
    sys.exit(main())
