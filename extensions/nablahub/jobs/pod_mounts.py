"""Folders of buckets that jobs mount on a cluster: what a job's own pod asks of them is asked here.

The pod copies what is there before the command begins, and brings back what it changed. The keys
stay with the service, as do the rules: which folder, whether it may be written to, until when.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from nablahub.core.errors import Conflict, Forbidden, Invalid, NablaError
from nablahub.core.settings import Settings
from nablahub.jobs.bucket_types import Report
from nablahub.jobs.errors import NoSuchJob
from nablahub.jobs.grounds import Ground
from nablahub.jobs.layout import LocalLayout
from nablahub.jobs.mounting import JobMounts, mounts_of_machine
from nablahub.jobs.runners import folder as files
from nablahub.jobs.runners.contract import TaskName
from nablahub.jobs.runners.receiving import Receiving
from nablahub.jobs.store import JobRow
from nablahub.jobs.tasks import spec_of
from nablahub.jobs.types import Input
from nablahub.storage.mounting.listing import is_file_name
from nablahub.storage.mounting.mounts import Opens
from nablahub.storage.mounting.record import add_line, read_lines
from nablahub.storage.mounting.refs import BucketFolder
from nablahub.storage.mounting.s3_folder import S3Folder
from nablahub.storage.service import StorageService

#: How far the writable mounts of a job are, in the job's folder.
RECORD: Final = "buckets.json"
#: The uploads in parts that were begun for it, a JSON line each.
UPLOADS: Final = "bucket-uploads"
log = logging.getLogger(__name__)
#: So long a folder stays open: keys that were changed are used after that.
_OPEN_SECONDS: Final = 300.0
#: Parts of objects that are handed on at once.
_HELD: Final = 16


class PodMounts:
    """The buckets of jobs whose pods mount them.

    Parameters
    ----------
    opens : Opens
        Opens buckets.
    jobs : pathlib.Path
        Holds a folder for each job.
    receiving : Receiving
        Is told that something was heard of a pod.
    """

    #: Whether a job waits for its mounts before it is started.
    ahead: Final = False

    def __init__(self, opens: Opens, jobs: Path, receiving: Receiving) -> None:
        self._opens, self._jobs, self._receiving = opens, jobs, receiving
        self._open: dict[tuple[str, str], tuple[float, S3Folder]] = {}
        self._lock = threading.Lock()
        #: Held while a part of an object is in memory that is handed on.
        self.parts = asyncio.Semaphore(_HELD)

    def folder(self, job: JobRow, mount: str, *paths: str, write: bool = False) -> S3Folder:
        """Return the folder of a mount, for a pod that wants something of it; blocks.

        Parameters
        ----------
        mount : str
            The mount's name.
        paths : str
            The files in it that are meant.
        write : bool
            Whether it shall be changed.

        Raises
        ------
        NoSuchJob, Forbidden, Conflict, Invalid, NoSuchProvider
        """
        given = next((g for g in _mounted(job) if g.mount_name == mount), None)
        if given is None:
            raise NoSuchJob(job.id)
        odd = next((path for path in paths if not is_file_name(path)), None)
        if odd is not None:  # Some stores would let it lead out of the folder.
            raise Invalid(f"'{odd[:80]}' cannot be a file.")
        if write:
            if given.read_only:
                raise Forbidden(f"/{given.at}/{given.name} is mounted read-only.")
            if files.read(self._jobs / job.id, files.STATUS) is not None:
                raise Conflict(f"Job {job.id} has ended.")
            self._receiving.hear(TaskName(job.id))
        key = (job.id, mount)
        with self._lock:
            opened, found = self._open.get(key, (0.0, None))
        if found is None or time.monotonic() > opened + _OPEN_SECONDS:
            wanted = BucketFolder.parse(given.ref)
            journal = self._jobs / job.id / UPLOADS
            found = S3Folder(
                self._opens.folder_store(wanted.storage, wanted.prefix),
                begun=lambda path, upload: add_line(
                    journal, {"folder": given.ref, "path": path, "upload": upload}
                ),
            )
            with self._lock:
                self._open[key] = (time.monotonic(), found)
        return found

    def heard(self, job_id: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield what comes of a pod, and note that it comes."""
        return self._receiving.hearing(TaskName(job_id), chunks)

    def note(self, job: JobRow, report: Report) -> None:
        """Keep how far the writable mounts of a job are; blocks."""
        shown = [f"/{given.at}/{given.name}" for given in _mounted(job) if not given.read_only]
        files.write(self._jobs / job.id, RECORD, {**report.model_dump(), "mounts": shown})

    def make(self, job_id: str, inputs: list[Input]) -> str | None:
        """Return None: there is nothing to be made before the pod is there."""
        return None

    async def save(self, job_id: str) -> str | None:
        """Return a sentence about what a job that ended has changed and is not in the bucket."""
        return await asyncio.to_thread(self._lost, job_id)

    def _lost(self, job_id: str) -> str | None:
        self._abandon(self._jobs / job_id / UPLOADS)
        known = files.read(self._jobs / job_id, RECORD)
        if known is None:  # Nothing is writable, or nothing began.
            return None
        if known["stage"] == "ready":
            shown = " and ".join(known["mounts"])
            return (
                f"What it changed in {shown} was not written back, or only in part: its pod ended "
                "before that. Whole files only are in the bucket."
            )
        return str(known["words"]) or None

    def _abandon(self, journal: Path) -> None:
        """Give up the uploads that a kill left behind; the bucket is not asked for long."""
        for row in read_lines(journal):
            wanted = BucketFolder.parse(row["folder"])
            try:
                store = self._opens.folder_store(wanted.storage, wanted.prefix)
                S3Folder(store).abandon(row["path"], row["upload"])
            except NablaError as error:
                log.warning("Uploads in parts stay in %s: %s", row["folder"], error)
                return

    async def release(self, job_id: str) -> None:
        """Close the folders of a job."""
        with self._lock:
            for key in [key for key in self._open if key[0] == job_id]:
                del self._open[key]

    async def sweep(self, running: set[str]) -> None:
        """Nothing is left: what pods copied goes with them."""

    async def close(self) -> None:
        """Nothing has to be stopped."""

    async def note_room(self, job: JobRow) -> None:
        """Nobody measures the storage of a cluster."""


def _mounted(job: JobRow) -> list[Input]:
    return [given for given in spec_of(job).inputs if given.kind == "bucket"]


def mounts_of_jobs(
    settings: Settings,
    storage: StorageService,
    ground: Ground,
    layout: LocalLayout,
    wake: Callable[[str], None],
) -> JobMounts | PodMounts:
    """Return what sees to the buckets of jobs where they run.

    Parameters
    ----------
    wake : callable
        Has a job's next step done.
    """
    if ground.receiving is not None:
        return PodMounts(storage, settings.state.jobs, ground.receiving)
    layout.mounts = mounts_of_machine(settings, storage, wake)
    return layout.mounts
