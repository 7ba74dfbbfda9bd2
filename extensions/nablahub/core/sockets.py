"""Listening sockets that a process was started with: nobody else can take their ports meanwhile."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

#: The first descriptor of a socket handed over (sd_listen_fds(3)).
FIRST = 3


def inherited() -> list[socket.socket]:
    """Return the listening sockets handed to this very process; none when asked again.

    The protocol is that of sd_listen_fds(3). Nothing that this process starts inherits them.
    """
    told = {name: os.environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS")}
    os.environ.pop("LISTEN_FDNAMES", None)
    if told["LISTEN_PID"] != str(os.getpid()):
        return []
    numbers = range(FIRST, FIRST + int(told["LISTEN_FDS"]))
    for number in numbers:
        os.set_inheritable(number, False)
    return [socket.socket(fileno=number) for number in numbers]


def listening(found: Sequence[socket.socket], host: str, port: int) -> list[socket.socket]:
    """Return those among sockets that listen on an IPv4 address and port."""
    return [one for one in found if one.getsockname() == (host, port)]
