"""Ends what is left of a state directory once its supervised processes are gone."""

from __future__ import annotations

import asyncio
import os
import signal

from pydantic import ValidationError

from nablahub.core.pids import send
from nablahub.core.settings import Settings
from nablahub.core.state import StateDir
from nablahub.jobs.runners.process.shutdown import end_all as end_jobs
from nablahub_hub.local import procfs
from nablahub_spawner.process import descendants

#: Rounds of looking: a process may start another between being seen and being ended.
ROUNDS = 5
#: Seconds that jobs have to end by themselves.
JOBS_PATIENCE = 10.0


async def end_all(state: StateDir, session: str, *, patience: float = 3.0) -> int:
    """End jobs, then every process that carries the session's mark; return how many there were.

    The service must have ended. SIGTERM first, SIGKILL for what is still there after the seconds
    of patience.
    """
    total = len(await asyncio.to_thread(end_jobs, state, JOBS_PATIENCE))
    total += await _end_pods(state)
    for attempt in range(ROUNDS):
        pids = _marked_and_below(session)
        if not pids:
            break
        total += len(pids)
        await procfs.end(pids, patience=patience if attempt == 0 else 0.1)
    else:
        for pid in _marked_and_below(session):
            send(pid, signal.SIGKILL)
        await asyncio.sleep(0)
    return total


async def _end_pods(state: StateDir) -> int:
    """End jobs that are pods, if they are; return how many there were."""
    try:
        settings = Settings.load(state.settings)
    except (OSError, ValidationError):  # never started, or broken
        return 0
    if settings.runner != "kubernetes":
        return 0
    # Only here: what it needs is an extra.
    from nablahub.jobs.runners.kubernetes.shutdown import end_all as end_pods

    return len(await end_pods(state.jobs, settings.kubernetes))


def _marked_and_below(session: str) -> list[int]:
    """Return what carries the mark, and what that started: sandboxes do not carry it."""
    marked = {found.pid for found in procfs.processes(session)}
    below = {child.pid for pid in marked for child in descendants(pid)}
    return sorted((marked | below) - {os.getpid()})
