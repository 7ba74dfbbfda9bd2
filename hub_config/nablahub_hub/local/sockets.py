"""The sockets that the supervised processes listen on: bound once, held as long as ``up`` lives.

Jobs share the loopback address. Were a port free while its process is started again, a job could
take it and read what others send there. Requests made meanwhile wait in the socket's backlog.
"""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Iterable, Mapping, Sequence

from nablahub_hub.local import procfs
from nablahub_hub.local.config import HOST

BACKLOG = 1024
#: pidfd_getfd(2) has no name in Python; its number is the same on x86-64 and aarch64.
_PIDFD_GETFD = 438
#: The protocol of sd_listen_fds(3) wants the descriptors 3 and 4 and the process's own id, which
#: only a process between us and the program can give. Its argv is the program's own afterwards.
_HAND_OVER = {
    1: 'exec 3<&0 </dev/null; export LISTEN_PID=$$; exec "$@"',
    2: 'exec 3<&0 4<&1 </dev/null >&2; export LISTEN_PID=$$; exec "$@"',
}


def bind(port: int, host: str = HOST) -> socket.socket | None:
    """Return a socket that listens on an address; None when the port is taken."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
        made.listen(BACKLOG)
    except OSError:
        made.close()
        return None
    made.setblocking(False)
    return made


def taken(pids: Iterable[int], port: int, host: str = HOST) -> socket.socket | None:
    """Return a copy of the socket of one of those processes that listens on a port.

    None when none of them does, or the system does not permit it (ptrace(2) tells when).
    """
    inodes = procfs.holders(port)
    for pid in pids:
        for number in procfs.descriptors(pid, inodes):
            copy = _copy(pid, number)
            if copy is None:
                continue
            if copy.getsockname() == (host, port):
                return copy
            copy.close()
    return None


def _copy(pid: int, number: int) -> socket.socket | None:
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return None
    try:
        copy = libc.syscall(_PIDFD_GETFD, handle, number, 0)
    finally:
        os.close(handle)
    return socket.socket(fileno=copy) if copy >= 0 else None


def command(
    argv: Sequence[str], sockets: Mapping[str, socket.socket]
) -> tuple[Sequence[str], dict[str, str]]:
    """Return what starts a program with sockets, and what that adds to its environment.

    The first socket must be its standard input, the second its standard output; where its
    standard error goes, its standard output goes afterwards.
    """
    if not sockets:
        return argv, {}
    wrapped = ("/bin/sh", "-c", _HAND_OVER[len(sockets)], "sh", *argv)
    return wrapped, {"LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": ":".join(sockets)}
