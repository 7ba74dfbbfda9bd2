"""Processes that need not be our children: wait for their end, send them signals."""

from __future__ import annotations

import asyncio
import os
import signal


async def gone(pid: int, timeout: float | None = None) -> bool:
    """Wait until a process has ended; False when it has not within the seconds given.

    Works for processes that are not our children (pidfd_open(2)).
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def end() -> None:
        if not ended.done():
            ended.set_result(None)

    loop.add_reader(handle, end)
    try:
        await asyncio.wait_for(ended, timeout)
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(handle)
        os.close(handle)
    return True


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may have ended meanwhile."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
