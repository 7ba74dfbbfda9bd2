"""Following the logs of tasks while they are written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

from nablahub.jobs.runners import folder as files
from nablahub.jobs.runners.contract import TaskName
from nablahub.jobs.runners.inotify import Inotify, Watch
from nablahub.jobs.runners.reading import log_size, read_log

_CHUNK = 64 * 1024


class Following:
    """Wakes those who follow a log when it grows or when its task has ended.

    Used on the event loop only.
    """

    def __init__(self) -> None:
        self._inotify = Inotify()
        self._followers: dict[TaskName, set[Watch]] = {}

    async def follow(
        self, name: TaskName, folder: Path, offset: int, runs: Callable[[], Awaitable[bool]]
    ) -> AsyncGenerator[bytes]:
        """Yield a log from a byte on, until its task has ended.

        Parameters
        ----------
        name
            The task; `finish` of that name ends this.
        folder
            The task's folder.
        offset
            The first byte wanted.
        runs
            Asked once, when the log is watched already: whether the task still runs.
        """
        if not folder.is_dir():
            return
        followers = self._followers.setdefault(name, set())
        with self._inotify.watch(folder, files.LOG) as watch:
            followers.add(watch)
            try:
                running = await runs()
                while True:
                    # Asked before reading: what was written before the end is then read.
                    last = not running or watch.done
                    if offset > files.LOG_KEPT:  # It may have been cut since.
                        offset = min(offset, log_size(folder))
                    while log_size(folder) > offset:
                        data = await asyncio.to_thread(read_log, folder, offset, _CHUNK)
                        offset += len(data)
                        yield data
                    if last:
                        return
                    await watch.changed()
            finally:
                followers.discard(watch)
                if not followers:
                    self._followers.pop(name, None)

    def finish(self, name: TaskName) -> None:
        """Tell those who follow a task that its log will not grow any more."""
        for watch in self._followers.get(name, ()):
            watch.finish()

    def close(self) -> None:
        """Watch nothing any more."""
        self._inotify.close()
