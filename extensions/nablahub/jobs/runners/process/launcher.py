"""The small process that forks a shim for each task, since forking the big service would be slow.

Started by the runner with the interpreter's `-I -S`, it imports the standard library and the
shim only. It listens on a unix socket for lines of JSON ({"op": "start", "folder": ...}), has a
session of its own and goes on when the service ends; the tasks go on when it is killed.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import signal
import socket
import sys
from pathlib import Path

from nablahub.jobs.runners.process import shim

SOCKET = "runner.sock"
LOCK = "runner.lock"
PID = "runner.pid"


def main(run_folder: str) -> None:
    """Listen in `run_folder` for ever. Returns in the first process once connecting works."""
    os.chdir(run_folder)  # Relative names: a socket's path has at most 107 bytes.
    os.umask(0o077)
    lock = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # One is running.
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
    gc.freeze()  # What a fork does not touch stays shared.
    _serve(server, lock)


def _serve(server: socket.socket, lock: int) -> None:
    while True:
        connection, _ = server.accept()
        with connection:
            try:
                connection.settimeout(10)
                request = json.loads(_line(connection))
                if request["op"] == "ping":
                    connection.sendall(b'{"pid": %d}\n' % os.getpid())
                elif request["op"] == "start":
                    _start(Path(request["folder"]), connection, [server.fileno(), lock])
                else:
                    connection.sendall(b'{"error": "unknown request"}\n')
            except (OSError, ValueError, KeyError) as error:
                _refuse(connection, error)


def _start(folder: Path, connection: socket.socket, ours: list[int]) -> None:
    if os.fork():
        return
    code = 1
    try:
        for fd in ours:
            os.close(fd)
        connection.settimeout(None)
        shim.main(folder, connection)
        code = 0
    except BaseException as error:  # noqa: BLE001 - a fork must never return into the loop
        (folder / "shim.error").write_text(repr(error))
    finally:
        os._exit(code)


def _refuse(connection: socket.socket, error: Exception) -> None:
    try:
        connection.sendall(json.dumps({"error": str(error)}).encode() + b"\n")
    except OSError:
        return  # Who asked is gone.


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
