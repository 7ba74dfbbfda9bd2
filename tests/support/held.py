"""Jobs that wait for something, as those of a full cluster do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nablahub.jobs.runners.contract import TaskSpec, TaskStatus
from nablahub.jobs.service import JobService
from tests.support.service import RunningService

NO_ROOM = "Waiting for a node with room for it: 1 Insufficient cpu."


def hold_back(service: RunningService, patch: pytest.MonkeyPatch) -> None:
    """Let a service's runner say of each task that it waits, until the task has ended."""
    runner = service.service.context.get(JobService).runner
    look = runner.look

    async def waiting(task: TaskSpec) -> TaskStatus:
        status = await look(task)
        if status.phase != "running":
            return status
        return replace(status, started_at=None, message=NO_ROOM)

    patch.setattr(runner, "look", waiting)
