"""Choosing a port for a server. Standard library only: the shim uses it."""

from __future__ import annotations

import random
import socket
from pathlib import Path


def free_port(host: str = "127.0.0.1") -> int:
    """A port of an address of this machine, the loopback one if not told, that nobody listens on.

    Below the range from which the kernel hands out ports to outgoing connections, since one of
    those could be taken again before the task listens.
    """
    try:
        low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        low = 32768
    chooser = random.SystemRandom()
    low = max(low, 20000)
    for _ in range(1000):
        port = chooser.randrange(10000, low)
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port on {host}")
