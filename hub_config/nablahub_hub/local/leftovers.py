"""Ends what is left of a state directory once its supervised processes are gone."""

from __future__ import annotations

import asyncio
import signal

from nablahub.core.state import StateDir
from nablahub_hub.local import procfs

#: Rounds of looking: a process may start another between being seen and being ended.
ROUNDS = 5


async def end_all(state: StateDir, session: str, *, patience: float = 3.0) -> int:
    """End every process that carries the session's mark; return how many there were.

    SIGTERM first, so that what runs for somebody can say that it was ended; SIGKILL for what is
    still there after the seconds of patience.
    """
    total = 0
    for attempt in range(ROUNDS):
        pids = [found.pid for found in procfs.processes(session)]
        if not pids:
            break
        total += len(pids)
        await procfs.end(pids, patience=patience if attempt == 0 else 0.1)
    else:
        for found in procfs.processes(session):
            procfs.send(found.pid, signal.SIGKILL)
        await asyncio.sleep(0)
    return total
