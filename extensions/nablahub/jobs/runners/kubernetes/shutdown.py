"""Ending everything of a state folder that runs on a cluster, when NablaHub goes down."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from nablahub.core.kubernetes import KubernetesSettings
from nablahub.jobs.runners import folder as files
from nablahub.jobs.runners.contract import TaskName
from nablahub.jobs.runners.kubernetes.api import Api, ApiError, Away
from nablahub.jobs.runners.kubernetes.leavings import Leavings
from nablahub.jobs.runners.process.shutdown import SHUTDOWN

_GRACE = 5.0
#: So many tasks are removed at the same time.
_AT_ONCE = 16


async def end_all(jobs: Path, settings: KubernetesSettings, timeout: float = 15.0) -> list[str]:
    """End every task of a folder of tasks; the service must have stopped.

    The wish is left first: where the cluster is away, or we are killed, the next service finds it.

    Parameters
    ----------
    jobs
        The folder that holds a folder for each task.
    settings
        The cluster.
    timeout
        Seconds to wait for the cluster.

    Returns
    -------
    list of str
        The tasks that had not ended. Their verdict is `cancelled`, with the words "NablaHub was
        shut down.", as soon as a service looks again.
    """
    folders = list(jobs.iterdir()) if jobs.is_dir() else []
    running = [
        folder
        for folder in folders
        if files.read(folder, files.STARTED) is not None
        and files.read(folder, files.STATUS) is None
    ]
    if not running:
        return []
    for folder in running:
        if files.read(folder, files.CANCEL) is None:
            files.write(folder, files.CANCEL, {"grace": _GRACE, "message": SHUTDOWN})
    api = Api(settings)
    with suppress(ApiError, *Away):
        async with asyncio.timeout(timeout):
            await api.connect()
            leavings = Leavings(api, settings.hub)
            slots = asyncio.Semaphore(_AT_ONCE)

            async def end(folder: Path) -> None:
                async with slots:
                    await leavings.remove(TaskName(folder.name), folder)

            await asyncio.gather(*map(end, running))
    await api.close()
    return [folder.name for folder in running]
