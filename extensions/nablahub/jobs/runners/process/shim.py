"""The parent of one task: starts its sandbox, holds it to its limits, leaves the verdict in a file.

Standard library only: it runs in a fork of the launcher, in a session of its own, and outlives it.
When the shim is killed the kernel kills the sandbox with it, and the task is `lost`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nablahub.jobs.runners import folder as files
from nablahub.jobs.runners.process import procfs
from nablahub.jobs.runners.process.body import Body
from nablahub.jobs.runners.process.limits import (
    Group,
    MemoryLimit,
    group_name,
    limit_memory,
    make_group,
    remove_group,
)
from nablahub.jobs.runners.process.ports import free_port

_PR_SET_CHILD_SUBREAPER = 36
_ASK_AGAIN_SECONDS = 0.005
_LOG_SECONDS = 1.0  # Between looks at how long the log has become.
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Shim:
    """One task that runs, or is about to.

    Parameters
    ----------
    folder
        The task's folder, with its `launch.json`.
    launch
        The content of that file:
        argv, env, cwd, sandboxed, cpus (list of CPU numbers or None), memory (bytes or None),
        timeout (seconds or None), grace (seconds), port (whether it serves).
    lock
        The descriptor of the lock, held.
    body
        The child that becomes the sandbox.
    group
        The control group it is in, if there is one.
    answer
        The connection of who asked for the task; a byte on it tells the end.
    """

    folder: Path
    launch: dict[str, Any]
    lock: int
    body: Body
    group: Group | None
    answer: socket.socket
    root: int = 0
    verdict: str | None = None
    message: str = ""
    limit: MemoryLimit | None = None
    started_at: float = field(default_factory=time.time)
    _deadline: float | None = None
    _kill_at: float | None = None
    _asked: bool = False

    def mark_started(self) -> dict[str, Any]:
        """Leave the mark that this task was started, after which nobody starts it again."""
        me = os.getpid()
        mark: dict[str, Any] = {
            "pid": me,
            "start_time": procfs.start_time(me),
            "boot": procfs.boot_id(),
            "at": self.started_at,
            "body": self.body.pid,
            "body_start_time": procfs.start_time(self.body.pid),
        }
        if self.launch["port"]:
            mark["port"] = self.launch["env"]["PORT"] = str(free_port())
            self.launch["env"]["HOST"] = "127.0.0.1"
        if self.launch["memory"] is not None:
            self.limit = limit_memory(self.group, self.launch["memory"])
        mark["group"] = str(self.group.folder) if self.group else None
        files.reserve(self.folder)
        files.write(self.folder, files.STARTED, mark)
        return mark

    def run(self) -> None:
        """Run the task to its end and write the verdict."""
        wake, wake_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        exit_code: int | None = None
        if self._cancelled():
            self.body.give_up()
            self.message = "It was cancelled before it began."
        else:
            exit_code = self._run_command(wake)
        self._finish(exit_code)

    def _run_command(self, wake: int) -> int | None:
        status, status_end = os.pipe2(os.O_CLOEXEC)
        gate_end, gate = os.pipe2(os.O_CLOEXEC)
        child = self.body.pid
        if not self.launch["sandboxed"]:
            # Orphans come to us, so that none outlives its job.
            _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.body.become(self.folder, self.launch, (status_end, gate_end, self.lock))
        os.close(status_end)
        os.close(gate_end)
        said = b""
        init: int | None = None
        if self.launch["sandboxed"]:
            said = _first_line(status)
            self.root = _child_pid(said) or child
            init = _pidfd(self.root)
            files.write(
                self.folder,
                files.SANDBOX,
                {
                    "pid": self.root,
                    "start_time": procfs.start_time(self.root),
                    "boot": procfs.boot_id(),
                },
            )
        else:
            self.root = os.getpid()
        _open(gate)
        if self.launch["timeout"] is not None:
            self._deadline = time.monotonic() + self.launch["timeout"]
        child_fd = os.pidfd_open(child)
        self._watch(child_fd, wake)
        _, wait_status = os.waitpid(child, 0)
        self._end_all(init)
        os.close(gate)
        if self.limit is not None and self.verdict is None and self._is_oom(wait_status):
            self._set_oom()
        if not self.launch["sandboxed"]:
            return _exit_code(wait_status)
        return self._sandbox_exit(said + _rest(status), wait_status)

    def _watch(self, child: int, wake: int) -> None:
        """Wait until the command ends; meanwhile see to cancelling, the deadline and memory."""
        poll = select.poll()
        poll.register(child, select.POLLIN)
        poll.register(wake, select.POLLIN)
        oom = self.limit.wake_fd if self.limit is not None else None
        if oom is not None:
            poll.register(oom, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll(self._patience())}
            if child in ready:
                return
            if wake in ready:
                os.read(wake, 512)
                if self._kill_at is None and self._cancelled():
                    self._ask_to_end()
            if oom in ready:
                os.read(oom, 8)
            files.trim_log(self.folder)
            now = time.monotonic()
            if self._kill_at is not None and now >= self._kill_at:
                self._kill()
                self._kill_at = float("inf")
            elif self._kill_at is not None and not self._asked:
                self._ask_to_end()
            elif self.verdict is None and self._deadline is not None and now >= self._deadline:
                self._set_timeout()
            elif self.verdict is None and self.limit is not None and self.limit.exceeded(self.root):
                self._set_oom()
                self._kill()

    def _patience(self) -> float:
        """Milliseconds until there is something to do without being woken."""
        now = time.monotonic()
        waits = [_LOG_SECONDS]
        if self._kill_at is not None and self._kill_at != float("inf"):
            waits.append(self._kill_at - now)
            waits += [] if self._asked else [_ASK_AGAIN_SECONDS]
        if self.verdict is None:
            if self._deadline is not None:
                waits.append(self._deadline - now)
            if self.limit is not None and self.limit.interval is not None:
                waits.append(self.limit.interval)
        return max(min(waits), 0.0) * 1000

    def _cancelled(self) -> bool:
        wish = files.read(self.folder, files.CANCEL)
        if wish is None:
            return False
        self.verdict = "cancelled"
        self.message = wish["message"]
        self.launch["grace"] = wish["grace"]
        return True

    def _set_timeout(self) -> None:
        self.verdict = "timeout"
        self.message = f"It ran longer than its limit of {self.launch['timeout']:g} s."
        self._ask_to_end()

    def _set_oom(self) -> None:
        self.verdict = "oom"
        gib = self.launch["memory"] / 1024**3
        self.message = f"It needed more memory than its limit of {gib:g} GiB."

    def _ask_to_end(self) -> None:
        if self._kill_at is None:
            self._kill_at = time.monotonic() + self.launch["grace"]
        there = list(procfs.descendants(self.root))
        procfs.kill_all(there, signal.SIGTERM)
        # Nobody there: the sandbox is still being made, and the command would never hear of it.
        # But never twice: what a command forks to clean up must not be hit by a second wave.
        self._asked = bool(there)

    def _kill(self) -> None:
        if self.launch["sandboxed"]:
            procfs.kill_all([self.root], signal.SIGKILL)  # Its first process: all of them go.
        else:
            procfs.kill_all(list(procfs.descendants(self.root)), signal.SIGKILL)

    def _end_all(self, init: int | None) -> None:
        """See that nothing of the task is left once its command has ended."""
        if init is not None:
            _kill_and_wait(init)
        elif not self.launch["sandboxed"]:
            while left := list(procfs.descendants(os.getpid())):
                procfs.kill_all(left, signal.SIGKILL)
                try:
                    os.waitpid(-1, 0)
                except ChildProcessError:
                    break

    def _is_oom(self, wait_status: int) -> bool:
        # A kill inside the sandbox comes out as status 137.
        return _exit_code(wait_status) != 0 and bool(self.limit and self.limit.exceeded(self.root))

    def _sandbox_exit(self, said: bytes, wait_status: int) -> int | None:
        for line in said.splitlines():
            try:
                content = json.loads(line)
            except ValueError:
                continue
            if "exit-code" in content:
                return int(content["exit-code"])
        if self.verdict is None:
            code = _exit_code(wait_status)
            if code == 137:
                self.verdict, self.message = "code", "Its sandbox was killed from outside."
                return code
            self.verdict = "start"
            self.message = f"The sandbox could not be made: {self._last_words()}"
        return None

    def _last_words(self) -> str:
        try:
            with (self.folder / files.LOG).open("rb") as log:
                log.seek(max(0, os.fstat(log.fileno()).st_size - 1000))
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            return "it said nothing."
        return lines[-1] if lines else "it said nothing."

    def _finish(self, exit_code: int | None) -> None:
        files.trim_log(self.folder)
        peak = self.limit.peak() if self.limit is not None else None
        if self.limit is not None:
            self.limit.close()
        if self.group is not None:
            remove_group(self.group.folder)
        files.write_last(
            self.folder,
            files.STATUS,
            {
                "verdict": self.verdict or "code",
                "message": self.message,
                "exit_code": exit_code,
                "started_at": self.started_at,
                "finished_at": time.time(),
                "peak_memory": peak,
            },
        )
        # Earlier than by our own end, which takes the kernel a moment.
        with contextlib.suppress(OSError):
            self.answer.sendall(b"\n")


def main(orders: socket.socket) -> None:
    """Be a shim: make ready what takes long, wait for an order, be the parent of that task.

    Parameters
    ----------
    orders
        Where the launcher sends the task's folder, with the connection of who asks for it.
    """
    os.setsid()
    os.umask(0o077)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    # Before any mark is made: whoever reads our pid there may cancel at once.
    signal.signal(signal.SIGTERM, lambda *_: None)
    group = make_group(group_name())
    body = Body(group, orders)
    said, fds, _, _ = socket.recv_fds(orders, 65536, 1)
    orders.close()
    shim = (
        _begin(Path(os.fsdecode(said)), socket.socket(fileno=fds[0]), body, group) if fds else None
    )
    if shim is not None:
        shim.run()
        return
    body.give_up()
    if group is not None:
        remove_group(group.folder)


def _begin(folder: Path, answer: socket.socket, body: Body, group: Group | None) -> Shim | None:
    """Mark the task as started and tell who asked; None when it was started before."""
    lock = files.take_lock(folder)
    if lock is None or (folder / files.STARTED).exists():
        # Somebody started it between the runner's look and this moment: that one counts.
        answer.sendall(json.dumps(files.read(folder, files.STARTED) or {}).encode() + b"\n")
        return None
    launch = files.read(folder, files.LAUNCH)
    if launch is None:
        answer.sendall(b'{"error": "there is no task in this folder"}\n')
        return None
    shim = Shim(folder, launch, lock, body, group, answer)
    mark = shim.mark_started()
    with contextlib.suppress(OSError):  # Who asked may be gone; it will look into the folder.
        answer.sendall(json.dumps(mark).encode() + b"\n")
    return shim


def _open(gate: int) -> None:
    """Let the command begin."""
    try:
        os.write(gate, b"go\n")
    except BrokenPipeError:
        return  # It ended already, or has no gate because it has no sandbox.


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _kill_and_wait(pidfd: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll()
    os.close(pidfd)


def _child_pid(said: bytes) -> int | None:
    try:
        return int(json.loads(said)["child-pid"])
    except (ValueError, KeyError):
        return None


def _first_line(fd: int) -> bytes:
    """What bwrap says first, up to its end of line; empty when it ends without a word."""
    said = b""
    while not said.endswith(b"\n"):
        part = os.read(fd, 4096)
        if not part:
            break
        said += part
    return said


def _rest(fd: int) -> bytes:
    said = b""
    while part := os.read(fd, 4096):
        said += part
    os.close(fd)
    return said


def _exit_code(wait_status: int) -> int:
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else 128 - code
