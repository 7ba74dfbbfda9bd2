"""Asking a server that a task runs whether it takes requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from nablahub.jobs.runners.contract import Probe

_FIRST_WAIT = 0.02
_LONGEST_WAIT = 0.25
_TOLERATED = 3


async def answers(host: str, port: int, probe: Probe) -> bool:
    """Whether a GET of the probe's path is answered below 400 within its timeout."""
    try:
        async with asyncio.timeout(probe.timeout):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                head = (
                    f"GET {probe.path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
                )
                writer.write(head.encode())
                line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    words = line.split()
    return len(words) > 1 and words[0].startswith(b"HTTP/") and b"200" <= words[1][:3] < b"400"


async def keep_asking(port: int, probe: Probe, tell: Callable[[bool], None]) -> None:
    """Ask for ever and tell each change; quickly until the first answer, then every period.

    A server that was ready is given up after three questions without an answer.
    """
    wait = _FIRST_WAIT
    while not await answers("127.0.0.1", port, probe):
        await asyncio.sleep(wait)
        wait = min(wait * 1.5, _LONGEST_WAIT)
    tell(True)
    ready, silent = True, 0
    while True:
        await asyncio.sleep(probe.period)
        silent = 0 if await answers("127.0.0.1", port, probe) else silent + 1
        now = silent < _TOLERATED if ready else silent == 0
        if now != ready:
            ready = now
            tell(ready)
