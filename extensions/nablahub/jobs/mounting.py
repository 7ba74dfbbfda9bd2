"""Folders of buckets that jobs mount: made before a job is started, brought back when it ended.

On one machine only: on a cluster the pods of a job see to it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from nablahub.core.errors import NablaError
from nablahub.core.settings import Settings
from nablahub.core.usage import FolderUsage
from nablahub.jobs.runners import folder as files
from nablahub.jobs.runners.contract import STORAGE
from nablahub.jobs.runners.notes import line
from nablahub.jobs.runners.remove import remove_tree
from nablahub.jobs.store import JobRow
from nablahub.jobs.types import Input
from nablahub.storage.mounting.mounts import Mounts
from nablahub.storage.mounting.refs import BucketFolder
from nablahub.storage.mounting.returning import UNSAVED, kept
from nablahub.storage.service import StorageService

log = logging.getLogger(__name__)


@dataclass
class _Making:
    """Mounts that are being made."""

    stop: threading.Event = field(default_factory=threading.Event)
    words: str = "Mounting its buckets."
    failed: str | None = None
    task: asyncio.Task[None] | None = None


class JobMounts:
    """The buckets of jobs.

    Parameters
    ----------
    mounts : Mounts
        Makes them.
    jobs : pathlib.Path
        Holds a folder for each job, with its log and artifacts.
    wake : callable
        Has a job's next step done.
    usage_of : callable
        Tells what a team's storage takes.
    """

    #: Whether a job waits for its mounts before it is started.
    ahead: Final = True

    def __init__(
        self,
        mounts: Mounts,
        jobs: Path,
        wake: Callable[[str], None],
        usage_of: Callable[[str], FolderUsage],
    ) -> None:
        self._mounts, self._jobs, self._wake = mounts, jobs, wake
        self._usage_of = usage_of
        self._making: dict[str, _Making] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        # Of their own: a copy may take hours, and others need the usual threads.
        self._threads = ThreadPoolExecutor(8, "nablahub-mounts")

    def make(self, job_id: str, inputs: list[Input]) -> str | None:
        """Begin to make a job's mounts; return None when they are there, else what is being done.

        Whoever asked is woken when that changes.

        Raises
        ------
        NablaError
            One of them cannot be made.
        """
        wanted = [given for given in inputs if given.kind == "bucket"]
        if all(self._mounts.ready(job_id, given.mount_name) for given in wanted):
            self._making.pop(job_id, None)
            return None
        making = self._making.get(job_id)
        if making is None:
            making = self._making[job_id] = _Making()
            self._loop = asyncio.get_running_loop()
            making.task = self._loop.create_task(self._make(job_id, wanted, making))
        if making.failed is not None:
            del self._making[job_id]
            raise NablaError(making.failed)
        return making.words

    async def _make(self, job_id: str, wanted: list[Input], making: _Making) -> None:
        loop = asyncio.get_running_loop()

        def tell(words: str) -> None:
            making.words = words
            self.note(job_id, words)
            loop.call_soon_threadsafe(self._wake, job_id)

        def work() -> None:
            for given in wanted:
                self._mounts.make(
                    job_id, given.mount_name, BucketFolder.parse(given.ref),
                    read_only=given.read_only, tell=tell, stopped=making.stop.is_set,
                )  # fmt: skip

        try:
            await loop.run_in_executor(self._threads, work)
        except NablaError as error:
            making.failed = str(error)
        except OSError as error:
            making.failed = f"Its buckets could not be mounted: {error.strerror}."
        self._wake(job_id)

    def path(self, job_id: str, name: str) -> Path:
        """Return what is bound for a mount; MountFailed when it is not ready."""
        return self._mounts.path(job_id, name)

    async def save(self, job_id: str) -> str | None:
        """Write back what a job that ended has changed; return a sentence about what is lost.

        What could not be written back is among its artifacts then.
        """
        work = asyncio.get_running_loop().run_in_executor
        return await work(self._threads, self._save, job_id)

    def _save(self, job_id: str) -> str | None:
        lost = self._mounts.save(job_id, lambda words: self.note(job_id, words))
        if not lost:
            return None
        artifacts = self._jobs / job_id / "artifacts" / UNSAVED
        for number, mount in enumerate(lost):
            for path, source in mount.files.items():
                target = artifacts / str(number) / path
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                if source.is_file() and not source.is_symlink():
                    _keep(source, target)
        told = kept(mount.words for mount in lost)
        self.note(job_id, told)
        return told

    async def release(self, job_id: str) -> None:
        """Take a job's mounts away; nothing happens when it has none."""
        making = self._making.pop(job_id, None)
        if making is not None and making.task is not None:
            making.stop.set()
            await asyncio.gather(making.task, return_exceptions=True)
        if job_id in self._mounts.owners():
            work = asyncio.get_running_loop().run_in_executor
            try:
                await work(self._threads, self._mounts.release, job_id)
            except NablaError as error:  # It is tried again when the service starts.
                log.warning("%s", error)

    async def sweep(self, running: set[str]) -> None:
        """Take away the mounts of jobs that do not run any more."""
        for owner in self._mounts.owners():
            if owner not in running:
                await self.release(owner)

    async def close(self) -> None:
        """Stop what is being made; mounts that are there stay."""
        for making in self._making.values():
            making.stop.set()
        tasks = [m.task for m in self._making.values() if m.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown()

    async def note_room(self, job: JobRow) -> None:
        """Tell in a job's log when its team's storage is full, or nearly."""
        used = self._usage_of(job.team_id)
        if told := used.sentence(STORAGE):
            told += " This job sees it read-only." if used.level == "over" else ""
            await asyncio.to_thread(self.note, job.id, told)

    def note(self, job_id: str, words: str) -> None:
        """Write a line into the job's log, before its command has written anything or after."""
        folder = self._jobs / job_id
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        with open(os.open(folder / files.LOG, flags, 0o600), "a", encoding="utf-8") as file:  # noqa: PTH123
            file.write(line(words))


def _keep(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:  # Another file system.
        shutil.copyfile(source, target)


def mounts(job: JobRow) -> bool:
    """Whether a job mounts buckets."""
    return any(given["kind"] == "bucket" for given in job.spec["inputs"])


def mounts_of_machine(
    settings: Settings, storage: StorageService, wake: Callable[[str], None]
) -> JobMounts:
    """Return what mounts the buckets of this machine's jobs, and wakes a job's steps."""
    made = Mounts(
        settings.state.mounts, storage, by=settings.bucket_mounts,
        free_bytes=settings.min_free_bytes, remove=remove_tree,
    )  # fmt: skip
    return JobMounts(made, settings.state.jobs, wake, storage.usage_of)
