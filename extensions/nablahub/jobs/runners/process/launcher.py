"""The small process that forks a shim for each task, since forking the big service would be slow.

Started by the runner with the interpreter's `-I -S`, it imports the standard library and the
shim only. It listens on a unix socket for lines of JSON ({"code": ..., "folder": ...}), has a
session of its own and goes on when the service ends; the tasks go on when it is killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import hashlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from pathlib import Path

from nablahub.jobs.runners.process import shim
from nablahub.jobs.runners.process.limits import sweep_groups

SOCKET = "runner.sock"
LOCK = "runner.lock"
PID = "runner.pid"
#: The modules that a launcher has in memory, and that which writes what they read.
_MODULES = (
    "launcher",
    "shim",
    "body",
    "sandboxed",
    "limits",
    "procfs",
    "../folder",
    "ports",
    "launch",
)
#: Without a request for so long, the next shim is made ready.
_IDLE_MS = 3


def fingerprint() -> str:
    """A hash of the code that runner and launcher must have in common."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for name in _MODULES:
        digest.update((here / f"{name}.py").read_bytes())
    return digest.hexdigest()


def main(run_folder: str) -> None:
    """Listen in `run_folder` for ever. Returns in the first process once connecting works."""
    os.chdir(run_folder)  # Relative names: a socket's path has at most 107 bytes.
    os.umask(0o077)
    lock = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if _one_answers():
            return
        _end_the_deaf_one(run_folder)
        fcntl.flock(lock, fcntl.LOCK_EX)
    Path(SOCKET).unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(SOCKET)
    server.listen(128)
    if os.fork():
        return
    os.setsid()
    _detach()
    Path(PID).write_text(str(os.getpid()))
    # Shims are reaped by the kernel: what became of a task stands in its folder.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sweep_groups()
    gc.freeze()  # What a fork does not touch stays shared.
    _serve(server, lock)


def _one_answers() -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(SOCKET)
        except OSError:
            return False
    return True


def _end_the_deaf_one(run_folder: str) -> None:
    """End a launcher whose socket somebody removed; its tasks go on."""
    try:
        pid = int(Path(PID).read_text())
        if os.fsencode(run_folder) in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGTERM)
    except (OSError, ValueError):
        return  # It ended meanwhile, or ends now: the lock tells.


class _Shims:
    """Forks shims, one ahead: what takes long in it is done before a task needs it."""

    def __init__(self, ours: list[int]) -> None:
        self._ours = ours
        self._spare: socket.socket | None = None
        self.spare_pid = 0

    @property
    def ready(self) -> bool:
        """Whether one waits."""
        return self._spare is not None

    def prepare(self) -> None:
        """Fork one, unless one waits."""
        if self._spare is not None:
            return
        orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            orders.close()
            _be_shim(theirs, self._ours)
        theirs.close()
        self._spare, self.spare_pid = orders, pid

    def start(self, folder: str, connection: socket.socket) -> None:
        """Have a shim look after the task in a folder; it answers the connection itself."""
        for last in (False, True):
            self.prepare()
            spare, self._spare = self._spare, None
            if spare is None:
                raise OSError("no process could be forked")
            with spare:
                try:
                    socket.send_fds(spare, [os.fsencode(folder)], [connection.fileno()])
                except OSError:
                    if last:
                        raise
                    continue  # Somebody killed the one that waited.
                return

    def close(self) -> None:
        """Let the one that waits end, and wait for it."""
        if self._spare is not None:
            self._spare.close()
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.spare_pid, 0)


def _serve(server: socket.socket, lock: int) -> None:
    own = fingerprint()
    wake, wake_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake_end)
    signal.signal(signal.SIGTERM, lambda *_: None)
    shims = _Shims([server.fileno(), lock, wake, wake_end])
    poll = select.poll()
    poll.register(server, select.POLLIN)
    poll.register(wake, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll(None if shims.ready else _IDLE_MS)}
        if wake in ready:
            shims.close()
            return
        if not ready:
            shims.prepare()
            continue
        connection, _ = server.accept()
        with connection:
            if _answer(connection, shims, own):
                continue
            # A service of another release asks: it shall start its own. Tasks go on.
            shims.close()
            Path(SOCKET).unlink(missing_ok=True)
            os.close(lock)
            with contextlib.suppress(OSError):
                connection.sendall(b'{"stale": true}\n')
            return


def _answer(connection: socket.socket, shims: _Shims, own: str) -> bool:
    """Do what one connection asks for; False when it comes from other code than this."""
    try:
        connection.settimeout(10)
        request = json.loads(_line(connection))
        connection.settimeout(None)
        if request["code"] != own:
            return False
        shims.start(request["folder"], connection)
    except (OSError, ValueError, KeyError) as error:
        with contextlib.suppress(OSError):  # Who asked may be gone.
            connection.sendall(json.dumps({"error": str(error)}).encode() + b"\n")
    return True


def _be_shim(orders: socket.socket, ours: list[int]) -> None:
    """Run in the fork; never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for fd in ours:
            os.close(fd)
        shim.main(orders)
        code = 0
    except BaseException:  # noqa: BLE001 - a fork must never return into the loop
        Path("shim.error").write_text(traceback.format_exc())
    finally:
        os._exit(code)


def _line(connection: socket.socket) -> bytes:
    said = b""
    while not said.endswith(b"\n"):
        part = connection.recv(65536)
        if not part:
            raise ValueError("the request ended early")
        said += part
    return said


def _detach() -> None:
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.close(null)


if __name__ == "__main__":
    main(sys.argv[1])
