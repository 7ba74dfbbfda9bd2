"""Rules of buckets in notebook servers: there while the server runs, and nothing written is lost.

A row says what is wanted. A step compares it with what there is on the machine and begins one
piece of work, which may take hours and so is done beside; its end is another step's beginning.
What a kill cut off is begun again by the next life's steps.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from sqlalchemy.orm import Session

from nablahub.core.context import Context
from nablahub.core.database import after_commit
from nablahub.core.errors import NablaError
from nablahub.core.permissions import Principal
from nablahub.mounts.errors import BucketTaken, NoBucketsOnCluster
from nablahub.mounts.machine import ServerBuckets, Wanted
from nablahub.mounts.store import MountRow, buckets
from nablahub.mounts.types import S3, MountCreate
from nablahub.storage.mounting.errors import MountStopped
from nablahub.storage.mounting.refs import BucketFolder
from nablahub.storage.service import StorageService

#: After so long what a server that has ended left is tried to be sent again.
AGAIN_SECONDS: Final = 300.0
_KIND: Final = "bucket-mount"
log = logging.getLogger(__name__)

Tell = Callable[[str], None]
#: Changes a row by what came of its work.
Outcome = Callable[[Session, MountRow], None]


@dataclass
class _Work:
    """What is being done about one mount."""

    server: tuple[str, str]
    stop: threading.Event = field(default_factory=threading.Event)
    task: asyncio.Task[None] | None = None


class BucketMounts:
    """Folders of buckets in the servers of this machine."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._storage = context.get(StorageService)
        self._machine = ServerBuckets(context.settings, self._storage)
        self._working: dict[str, _Work] = {}
        self._watched: set[tuple[str, str]] = set()
        self._waking: set[asyncio.Task[None]] = set()
        # Of their own: a copy may take hours, and others need the usual threads.
        self._threads = ThreadPoolExecutor(8, "nablahub-server-mounts")
        context.reconciler.register(_KIND, self._step)

    async def close(self) -> None:
        """Stop what is being made; mounts that are there stay."""
        for work in self._working.values():
            work.stop.set()
        tasks = [work.task for work in self._working.values() if work.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown()

    def resume(self, session: Session) -> None:
        """Take up what was left unfinished, and look after what is mounted."""
        for row in session.scalars(buckets()):
            self._wake(session, row)

    # -- what is wanted --------------------------------------------------------------------------

    def resolve(self, session: Session, who: Principal, asked: MountCreate) -> tuple[str, str]:
        """Return what a request means, by the provider's id, and by its name.

        Raises
        ------
        NoBucketsOnCluster, NoSuchProvider, HoldsDatasets
        """
        settings = self._context.settings
        if asked.cache == "claim" or (settings.runner == "kubernetes" and asked.cache is None):
            raise NoBucketsOnCluster
        assert asked.bucket is not None
        folder = self._storage.folder(session, who, asked.bucket, read_only=asked.read_only)
        name = self._storage.row(session, who, folder.storage).name
        return str(folder), f"{S3}{BucketFolder(name, folder.prefix)}"

    def want(
        self, session: Session, row: MountRow, bucket: str, source: str, asked: MountCreate
    ) -> None:
        """Have a bucket shown by a row; BucketTaken when it shows something else."""
        if row.bucket is None:
            row.bucket, row.read_only = bucket, asked.read_only
        elif (row.bucket, row.read_only) != (bucket, asked.read_only):
            how = "read-only" if row.read_only else "writable"
            raise BucketTaken(row.name, f"{row.source} ({how})")
        row.source = source
        row.state, row.message = "Pending", ""
        self._wake(session, row)

    def send(self, session: Session, row: MountRow) -> None:
        """Have what was changed written to the bucket now."""
        row.todo = row.todo or "send"
        self._wake(session, row)

    def unmount(self, session: Session, row: MountRow, *, discard: bool) -> None:
        """Have a mount taken away, once what was changed is in the bucket."""
        row.todo = "discard" if discard else "unmount"
        after_commit(session, lambda: self._stop(row.id))
        self._wake(session, row)

    def _stop(self, mount_id: str) -> None:
        if mount_id in self._working:
            self._working[mount_id].stop.set()

    def _wake(self, session: Session, row: MountRow) -> None:
        self._context.reconciler.wake(session, _KIND, row.id)

    # -- what is done ----------------------------------------------------------------------------

    async def _step(self, mount_id: str) -> float | None:
        """Begin what is to be done next about a mount."""
        if mount_id in self._working:
            return None  # Its end wakes us.
        row = await self._context.database.read(lambda s: s.get(MountRow, mount_id))
        if row is None or row.bucket is None:
            return None
        runs = await asyncio.to_thread(self._machine.runs, row.user_name, row.server)
        if runs:
            self._watch(row.user_name, row.server)
        if row.todo in ("unmount", "discard"):
            self._begin(row, self._take_away)
        elif not runs:
            if await asyncio.to_thread(self._machine.there, mount_id):
                self._begin(row, self._put_away)
            elif row.state != "Stopped" or row.todo:
                await self._write(mount_id, partial(self._stopped, ""))
        elif row.todo == "send":
            self._begin(row, self._send)
        elif row.state != "Failed" and not await self._is_there(row):
            self._begin(row, self._make)
        return None

    async def _is_there(self, row: MountRow) -> bool:
        return row.state == "Ready" and await asyncio.to_thread(self._machine.ready, row.id)

    def _begin(self, row: MountRow, do: Callable[[MountRow, _Work, Tell], Outcome]) -> None:
        work = self._working[row.id] = _Work((row.user_name, row.server))
        work.task = asyncio.create_task(self._work(row, do, work))

    async def _work(
        self, row: MountRow, do: Callable[[MountRow, _Work, Tell], Outcome], work: _Work
    ) -> None:
        loop = asyncio.get_running_loop()

        def tell(words: str) -> None:
            told = partial(_told, words)
            asyncio.run_coroutine_threadsafe(self._write(row.id, told), loop).result()

        later = True
        try:
            outcome = await loop.run_in_executor(self._threads, do, row, work, tell)
            await self._write(row.id, outcome)
            left = await self._context.database.read(lambda s: s.get(MountRow, row.id))
            later = left is not None and left.state == "Stopped" and left.unsent != ""
        except (NablaError, OSError) as error:  # Not even the database could be told.
            log.warning("The mount %s: %s", row.id, error)
        finally:
            del self._working[row.id]
            if later:
                self._context.reconciler.wake_later(_KIND, row.id, AGAIN_SECONDS)
            else:
                self._context.reconciler.wake_now(_KIND, row.id)

    async def _write(self, mount_id: str, change: Outcome) -> None:
        def write(session: Session) -> None:
            row = session.get(MountRow, mount_id)
            if row is not None:
                change(session, row)

        await self._context.database.write(write)

    def _make(self, row: MountRow, work: _Work, tell: Tell) -> Outcome:
        try:
            place = self._machine.make(Wanted.of(row), tell, work.stop.is_set)
        except MountStopped:
            return _as_it_was
        except NablaError as error:
            return partial(_failed, str(error))
        except OSError as error:
            return partial(_failed, f"It could not be mounted: {error.strerror}.")
        return partial(_ready, place)

    def _send(self, row: MountRow, work: _Work, tell: Tell) -> Outcome:
        return partial(_sent, self._machine.send(row.id, tell))

    def _take_away(self, row: MountRow, work: _Work, tell: Tell) -> Outcome:
        """Unmount what its owner does not want any more."""
        unsent = ""
        try:
            if row.todo == "discard":
                self._machine.discard(row.id)
            else:
                runs = self._machine.runs(row.user_name, row.server)
                unsent = self._machine.put_away(row.id, tell, runs=runs)
        except (NablaError, OSError) as error:
            unsent = str(error)
        return partial(_kept, unsent) if unsent else _gone

    def _put_away(self, row: MountRow, work: _Work, tell: Tell) -> Outcome:
        """Bring back what a server that has ended wrote."""
        try:
            unsent = self._machine.put_away(row.id, tell, runs=False)
        except (NablaError, OSError) as error:
            unsent = str(error)
        if unsent and not row.unsent:
            log.warning("What %s wrote to %s is kept: %s", row.whose, row.source, unsent)
        return partial(self._stopped, unsent)

    def _stopped(self, unsent: str, _session: Session, row: MountRow) -> None:
        # It may have been started again, and wait for what it had.
        runs = self._machine.runs(row.user_name, row.server)
        row.state, row.place, row.unsent = "Pending" if runs else "Stopped", "", unsent
        row.todo = "" if row.todo == "send" else row.todo

    # -- when servers end ------------------------------------------------------------------------

    def _watch(self, user: str, server: str) -> None:
        """Wait in a thread for the end of a server that has buckets."""
        whose = (user, server)
        if whose in self._watched:
            return
        self._watched.add(whose)
        loop = asyncio.get_running_loop()

        def wait() -> None:
            self._machine.wait(user, server)
            with suppress(RuntimeError):  # The service has ended before.
                loop.call_soon_threadsafe(self._ended, whose)

        threading.Thread(target=wait, name="nablahub-server-end", daemon=True).start()

    def _ended(self, whose: tuple[str, str]) -> None:
        self._watched.discard(whose)
        for work in self._working.values():
            if work.server == whose:
                work.stop.set()
        task = asyncio.get_running_loop().create_task(self._wake_all(whose))
        self._waking.add(task)
        task.add_done_callback(self._waking.discard)

    async def _wake_all(self, whose: tuple[str, str]) -> None:
        query = buckets().where(MountRow.user_name == whose[0], MountRow.server == whose[1])
        found = await self._context.database.read(lambda s: [row.id for row in s.scalars(query)])
        for mount_id in found:
            self._context.reconciler.wake_now(_KIND, mount_id)


def _told(words: str, _session: Session, row: MountRow) -> None:
    row.message = words


def _ready(place: str, _session: Session, row: MountRow) -> None:
    row.state, row.place = "Ready", place


def _failed(words: str, _session: Session, row: MountRow) -> None:
    row.state, row.message, row.place = "Failed", words, ""


def _as_it_was(_session: Session, _row: MountRow) -> None:
    pass


def _sent(unsent: str, _session: Session, row: MountRow) -> None:
    row.unsent = unsent
    row.todo = "" if row.todo == "send" else row.todo


def _gone(session: Session, row: MountRow) -> None:
    session.delete(row)


def _kept(unsent: str, _session: Session, row: MountRow) -> None:
    # Shown again, if it was not any more.
    row.state, row.unsent = "Pending", unsent
    row.todo = "" if row.todo == "unmount" else row.todo
