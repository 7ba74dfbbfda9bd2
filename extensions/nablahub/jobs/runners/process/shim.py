"""The parent of one task: starts its sandbox, holds it to its limits, leaves the verdict in a file.

Standard library only: it runs in a fork of the launcher, in a session of its own, and outlives it.
When the shim is killed the kernel kills the sandbox with it, and the task is `lost`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
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
from nablahub.jobs.runners.process import sandboxed as bwrap
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
#: How a sandbox says that its command cannot be run; a shell's codes for it are used, too.
_NO_COMMAND = "bwrap: execvp "
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
    #: Where the sandbox tells its status, and what opens its gate.
    status: int = -1
    gate: int = -1
    _deadline: float | None = None
    _kill_at: float | None = None
    _asked: bool = False

    def mark_started(self) -> dict[str, Any]:
        """Leave the mark that this task was started, after which nobody starts it again.

        A sandbox is being made meanwhile: its command waits for the gate.
        """
        me = os.getpid()
        mark: dict[str, Any] = {}
        if self.launch["port"]:
            mark["port"] = self.launch["env"]["PORT"] = str(free_port())
            self.launch["env"]["HOST"] = "127.0.0.1"
        if self.launch["memory"] is not None:
            self.limit = limit_memory(self.group, self.launch["memory"])
        if self.launch["sandboxed"]:
            self._become()
        mark |= {
            "pid": me,
            "start_time": procfs.start_time(me),
            "boot": procfs.boot_id(),
            "at": self.started_at,
            "body": self.body.pid,
            "body_start_time": procfs.start_time(self.body.pid),
            "group": str(self.group.folder) if self.group else None,
        }
        files.reserve(self.folder)
        files.write(self.folder, files.STARTED, mark)
        return mark

    def _become(self) -> None:
        """Have the body become what runs the command."""
        self.status, status_end = os.pipe2(os.O_CLOEXEC)
        gate_end, self.gate = os.pipe2(os.O_CLOEXEC)
        # With both ends in it the sandbox never reads an end of file, which it would take for a
        # yes: were this process killed, its command would begin.
        both_ends = os.open(f"/proc/self/fd/{gate_end}", os.O_RDWR | os.O_CLOEXEC)
        self.body.become(self.folder, self.launch, (status_end, both_ends, self.lock))
        for fd in (status_end, gate_end, both_ends):
            os.close(fd)

    def run(self) -> None:
        """Run the task to its end and write the verdict."""
        wake, wake_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        exit_code: int | None = None
        if self._cancelled():
            self._end_unbegun()
            self.message = "It was cancelled before it began."
        elif self.launch["sandboxed"]:
            exit_code = self._run_sandbox(wake)
        else:
            exit_code = self._run_bare(wake)
        self._finish(exit_code)

    def _end_unbegun(self) -> None:
        """End what waits to be told to run the command."""
        init = None
        if self.launch["sandboxed"]:
            self.root = bwrap.child_pid(bwrap.first_line(self.status)) or self.body.pid
            init = bwrap.hold(self.root)
        self.body.give_up()
        if init is not None:
            bwrap.kill_and_wait(init)

    def _run_sandbox(self, wake: int) -> int | None:
        said = bwrap.first_line(self.status)
        self.root = bwrap.child_pid(said) or self.body.pid
        init = bwrap.hold(self.root)
        files.write(
            self.folder,
            files.SANDBOX,
            {
                "pid": self.root,
                "start_time": procfs.start_time(self.root),
                "boot": procfs.boot_id(),
            },
        )
        bwrap.open_gate(self.gate)
        wait_status = self._wait(wake)
        if init is not None:
            bwrap.kill_and_wait(init)
        os.close(self.gate)
        self._judge(wait_status)
        return self._sandbox_exit(said + bwrap.rest(self.status), wait_status)

    def _run_bare(self, wake: int) -> int:
        # Orphans come to us, so that none outlives its job.
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._become()
        self.root = os.getpid()
        wait_status = self._wait(wake)
        _end_all_below()
        self._judge(wait_status)
        return _exit_code(wait_status)

    def _wait(self, wake: int) -> int:
        """Return the status of the command, once it has ended."""
        if self.launch["timeout"] is not None:
            self._deadline = time.monotonic() + self.launch["timeout"]
        child_fd = os.pidfd_open(self.body.pid)
        self._watch(child_fd, wake)
        return os.waitpid(self.body.pid, 0)[1]

    def _judge(self, wait_status: int) -> None:
        # A kill inside the sandbox comes out as status 137.
        failed = self.verdict is None and _exit_code(wait_status) != 0
        if failed and self.limit is not None and self.limit.exceeded(self.root):
            self._set_oom()

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

    def _sandbox_exit(self, said: bytes, wait_status: int) -> int | None:
        for line in said.splitlines():
            try:
                content = json.loads(line)
            except ValueError:
                continue
            if "exit-code" in content:
                return int(content["exit-code"])
        if self.verdict is None:
            code, words = _exit_code(wait_status), self._last_words()
            if code == 1 and words.startswith(_NO_COMMAND):
                self.verdict = "code"
                return 127 if words.endswith(os.strerror(errno.ENOENT)) else 126
            if code == 137:
                self.verdict, self.message = "code", "Its sandbox was killed from outside."
                return code
            self.verdict = "start"
            self.message = f"The sandbox could not be made: {words}"
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
    started = folder / files.STARTED
    while (lock := files.take_lock(folder)) is None and not started.exists():
        # Another shim is about to leave its mark, or was killed before and its sandbox goes now.
        time.sleep(_ASK_AGAIN_SECONDS)
    if lock is None or started.exists():
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


def _end_all_below() -> None:
    """See that nothing of the task is left once its command has ended."""
    while left := list(procfs.descendants(os.getpid())):
        procfs.kill_all(left, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break


def _exit_code(wait_status: int) -> int:
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else 128 - code
