"""Work on versions that takes time: taking bytes in, committing, materialising, deleting.

Everything here blocks and runs in a thread, outside of requests' transactions; each database
access is a short transaction of its own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy.orm import Session

from nablahub.core.context import Context
from nablahub.core.errors import NablaError
from nablahub.core.identity import PUBLIC
from nablahub.core.objects import ObjectStore, check_room
from nablahub.core.s3 import S3Store
from nablahub.core.times import now
from nablahub.datasets import garbage, recipes, remote_garbage, trash, uploads
from nablahub.datasets.committing import DVC_TREES, Committing
from nablahub.datasets.contents import Contents
from nablahub.datasets.drafts import Drafts
from nablahub.datasets.errors import DatasetQuota, NoSuchVersion
from nablahub.datasets.intake import Parts, Received
from nablahub.datasets.keeping import SHRINK, Keeping, Recipe
from nablahub.datasets.layout import cache_name, object_key, pack_key
from nablahub.datasets.local import TreeStorer
from nablahub.datasets.manifest import KIND_FILE
from nablahub.datasets.packs import SMALL, PackIndex
from nablahub.datasets.scan import Found
from nablahub.datasets.store import (
    DatasetRow,
    GarbageRow,
    ObjectRow,
    PackRow,
    UploadRow,
    VersionRow,
    condemned,
    damaged,
    is_stored,
    underived,
)
from nablahub.datasets.sweeping import LEFTOVERS, Sweeping
from nablahub.datasets.threads import blocking, in_thread
from nablahub.datasets.transfer_types import ObjectName
from nablahub.datasets.transfers import Transfers

if TYPE_CHECKING:
    from nablahub.datasets.service import DatasetService

#: How often it is looked whether the day of a deleted version has come.
PURGE_SECONDS: Final = 3600.0
#: How often a look is taken in a row when others commit meanwhile.
PURGE_TRIES: Final = 3


class Building:
    """The slow half of :class:`DatasetService`."""

    def __init__(self, context: Context, datasets: DatasetService) -> None:
        self._context = context
        self._datasets = datasets
        self._loop: asyncio.AbstractEventLoop | None = None
        self.transfers = Transfers(self)
        self._deleting: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self.keeping = Keeping(context)
        self.keeping.recipes.append(partial(recipes.of_name, datasets))
        self.keeping.readers.append(recipes.good_copies)
        self.committing = Committing(context, self, datasets)
        self.drafts = Drafts(self, datasets)
        self.sweeping = Sweeping(context, self, datasets)

    def write[T](self, work: Callable[[Session], T]) -> T:
        """Run work in a write transaction; what it tells is told on the service's loop."""
        return self._context.database.write_sync(work, self._loop)

    def read[T](self, work: Callable[[Session], T]) -> T:
        """Run work in a read transaction."""
        return self._context.database.read_sync(work)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look after garbage from now on."""
        self._loop = loop
        self._context.reconciler.register("dataset-garbage", self._collect)
        self._context.reconciler.register(DVC_TREES, self.committing.derive_later)
        self._context.reconciler.register("dataset-purge", self._purge)
        self._context.reconciler.register(SHRINK, self._shrink)
        self.keeping.grown = self._shrink_soon
        self._context.reconciler.register(LEFTOVERS, self.sweeping.daily)

    # Taking in.

    def check_space(self, space: str, size: int) -> None:
        """Raise DatasetQuota or StorageFull when ``size`` more bytes are too many."""
        settings = self._datasets.settings
        self.check_quota(space, size)
        # What goes elsewhere through the service lies on its disk for a while, too.
        check_room(settings.state.objects, size, settings.min_free_bytes)

    def check_quota(self, space: str, size: int, waiting: int = 0) -> None:
        """Raise DatasetQuota as :meth:`Quota.check`."""
        quota = self._datasets.quota(space)
        try:
            self.read(lambda s: quota.check(s, size, waiting))
        except DatasetQuota:
            if not sum([make(space) for make in self._datasets.room_makers]):
                raise
            self.read(lambda s: quota.check(s, size, waiting))

    def register_pack(
        self, team_id: str, upload: UploadRow, pack: str, got: Received, multipart: str = ""
    ) -> None:
        """Count a stored pack; one that may not stay is deleted before the error leaves."""
        row = PackRow(
            dataset_id=upload.dataset_id, pack=pack, team_id=team_id, size=got.size,
            count=got.objects, upload_id=upload.id, created_at=now(),
        )  # fmt: skip
        store, quota = self._datasets.store(team_id), self._datasets.quota(team_id)
        with self._undone(team_id, "pack", pack_key(upload.dataset_id, pack)):
            self.write(lambda s: uploads.register_pack(s, store, upload, row, quota, multipart))
        self.mend(store, team_id, upload.dataset_id, pack)

    def register_object(
        self, team_id: str, upload: UploadRow, md5: str, sha256: str, size: int, multipart: str = ""
    ) -> None:
        """Count a stored large object; one that may not stay is deleted first."""
        row = ObjectRow(team_id=team_id, md5=md5, sha256=sha256, size=size, created_at=now())
        store, quota = self._datasets.store(team_id), self._datasets.quota(team_id)
        with self._undone(team_id, "object", object_key(md5)):
            self.write(lambda s: uploads.register_object(s, store, upload, row, quota, multipart))
        if self.read(lambda s: damaged(s, team_id, "")):
            self.write(lambda s: uploads.mend(s, team_id, "", [md5]))

    def mend(self, store: ObjectStore, space: str, dataset: str, pack: str) -> None:
        """Note that what a new pack holds is whole again, if any of it was damaged."""
        if self.read(lambda s: damaged(s, space, dataset)):
            table = self._datasets.tables.get(store, dataset, pack)
            md5s = [md5.hex() for md5 in table.md5s()]
            self.write(lambda s: uploads.mend(s, space, dataset, md5s))

    def keep(self, dataset: DatasetRow, upload: UploadRow, file: Path, name: ObjectName) -> None:
        """Make a proved file part of the store (a small one's in a pack); raises OtherBytes.

        Parameters
        ----------
        file : pathlib.Path
            On the store's file system; gone afterwards.
        """
        if name.size <= SMALL:
            contents = self.read(lambda s: self._datasets.contents(s, dataset))
            storer = self.storer(dataset, upload, contents)
            storer.store(Found(name.md5, str(file), name.size, KIND_FILE))
            storer.flush()
            file.unlink()
        else:
            self.read(lambda s: is_stored(s, dataset.space, name.md5, name.sha256, name.size))
            store = self._datasets.store(dataset.space)
            self.claim(store, dataset.space, upload, "object", object_key(name.md5))
            store.adopt(file, object_key(name.md5))
            self.register_object(dataset.space, upload, name.md5, name.sha256, name.size)

    def claim(self, store: ObjectStore, space: str, upload: UploadRow, kind: str, key: str) -> None:
        """Say that an object is about to be stored, where a store is elsewhere."""
        if store.local(key) is None:
            self.transfers.claim(space, key, kind, upload.id)

    def _undone(self, team_id: str, kind: str, key: str) -> _Undone:
        return _Undone(self, team_id, kind, key)

    def forget_bytes(self, team_id: str, kind: str, key: str) -> None:
        """Delete stored bytes unless a row refers to them."""

        def note(session: Session) -> None:
            session.add(GarbageRow(team_id=team_id, kind=kind, name=key))
            self._datasets.collect_later(session, team_id)

        self.write(note)
        if self._loop is None:
            self.collect_now(team_id)

    def keep_table(self, pack: str, index: PackIndex) -> None:
        """Keep the table of a pack that was just stored: the commit looks into it."""
        self._datasets.tables.keep(pack, index)

    def storer(
        self,
        dataset: DatasetRow,
        upload: UploadRow,
        contents: Contents,
        known: set[bytes] | None = None,
    ) -> TreeStorer:
        """Return what stores and counts files of this machine for an upload.

        Parameters
        ----------
        known : set of bytes or None
            md5s of what is not to be stored; None: of all that the dataset's packs hold.
        """
        register = _Register(self, contents.store, dataset.space, upload)
        known = contents.packed_md5s() if known is None else known
        return TreeStorer(contents.store, dataset.id, known, register)

    def cancel(self, team_id: str, upload: UploadRow) -> None:
        """Give an upload up, with all that came with it."""

        def end(session: Session) -> None:
            row = session.get(UploadRow, upload.id)
            if row is not None:
                uploads.end(session, team_id, row)
                self._datasets.collect_later(session, team_id)

        self.write(end)
        if self._loop is None:
            self.collect_now(team_id)

    # Reading.

    def materialise(self, version_id: str) -> Path:
        """Make the read-only tree of a version; see :meth:`DatasetService.materialise`."""

        def look(session: Session) -> tuple[DatasetRow, VersionRow, Recipe]:
            version = session.get(VersionRow, version_id)
            if version is None:
                raise NoSuchVersion(version_id)
            dataset = session.get_one(DatasetRow, version.dataset_id)
            recipe = recipes.of_version(self._datasets, session, dataset, version)
            return dataset, version, recipe

        dataset, version, recipe = self.read(look)
        return self.keeping.tree(recipe, dataset.team_id, cache_name(dataset.id, version.version))

    def _shrink_soon(self) -> None:
        loop = self._loop
        with suppress(RuntimeError):  # The service is just ending; its next life looks again.
            if loop is not None:
                loop.call_soon_threadsafe(self._context.reconciler.wake_now, SHRINK, "")

    async def _shrink(self, _: str) -> None:
        limit = self.keeping.limit
        if limit is not None:
            await asyncio.to_thread(self.keeping.prune, limit)

    # Deleting.

    async def _purge(self, dataset_id: str) -> float | None:
        left = await in_thread(self.purge, dataset_id)
        return PURGE_SECONDS if left else None

    def purge(self, dataset_id: str) -> bool:
        """Take away what of a dataset has its day; tell whether more is waiting for its own."""

        def look(session: Session) -> trash.Stock | None:
            row = session.get(DatasetRow, dataset_id)
            return None if row is None else trash.look(session, row)

        for _ in range(PURGE_TRIES):
            stock = self.read(look)
            if stock is None:
                return False
            due = stock.due(now())
            # A look at a whole store is spared where it could only be in vain.
            if not due or self.read(lambda s: trash.is_building(s, dataset_id)):
                break
            if self._purge_once(stock, trash.find_waste(self._datasets, stock, due)):
                break
        return any(
            row.purge_at is not None for row in self.read(lambda s: trash.deleted(s, dataset_id))
        )

    def _purge_once(self, stock: trash.Stock, waste: trash.Waste) -> bool:
        done = self.write(lambda s: trash.purge(s, self._datasets, stock, waste))
        for version_id in waste.versions if done else ():
            name = cache_name(*version_id.split(":"))
            for folder in (stock.dataset.team_id, PUBLIC):
                self.keeping.discard(self._context.settings.state.cache / folder / name)
        return done

    async def _collect(self, space: str) -> float | None:
        more = await blocking(self._collect_batch, space)
        return 0.01 if more else None

    def _collect_batch(self, space: str) -> bool:
        store, parts = self._datasets.store(space), self._datasets.parts(space)
        cache = self._context.settings.state.cache
        if isinstance(store, S3Store):
            return self._collect_remote(store, parts, cache, space)
        return self.write(lambda s: garbage.collect(s, store, parts, cache, space))

    def _collect_remote(self, store: S3Store, parts: Parts, cache: Path, space: str) -> bool:
        with self._lock:
            turn = self._deleting.setdefault(space, threading.Lock())
        with turn:  # Who deletes late must not delete what was stored meanwhile.
            self.write(lambda s: garbage.forget_parts(s, parts, space))
            doomed = self.write(lambda s: remote_garbage.doom(s, space))
            remote_garbage.remove(store, doomed)
            for dataset in doomed.datasets:
                garbage.remove_trees(cache, dataset)
            self.write(lambda s: remote_garbage.forget(s, doomed))
        return len(doomed.notes) == remote_garbage.BATCH

    def collect_now(self, space: str) -> None:
        """Delete all of a space's left-over bytes, in this thread."""
        while self._collect_batch(space):
            pass

    def resume(self, session: Session) -> None:
        """Take up deletions that were left."""
        self._context.reconciler.wake(session, SHRINK, "")
        for team_id in garbage.teams_with_garbage(session):
            self._datasets.collect_later(session, team_id)
        self._context.reconciler.wake(session, LEFTOVERS, "")
        for dataset_id in condemned(session):
            self._context.reconciler.wake(session, "dataset-purge", dataset_id)
        for version in underived(session):
            self._context.reconciler.wake(session, DVC_TREES, version)


class _Undone:
    """Deletes bytes again when they could not be counted."""

    def __init__(self, building: Building, team_id: str, kind: str, key: str) -> None:
        self._building, self._what = building, (team_id, kind, key)

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, NablaError):
            self._building.forget_bytes(*self._what)


class _Register:
    """Counts what a folder of this machine brings."""

    def __init__(
        self, building: Building, store: ObjectStore, team_id: str, upload: UploadRow
    ) -> None:
        self._building, self._store = building, store
        self._team_id, self._upload = team_id, upload

    def claim(self, kind: str, key: str) -> None:
        self._building.claim(self._store, self._team_id, self._upload, kind, key)

    def pack(self, name: str, size: int, index: PackIndex) -> None:
        got = Received(size, index.count)
        self._building.register_pack(self._team_id, self._upload, name, got)
        self._building.keep_table(name, index)

    def others(self, md5: str, sha256: str, size: int) -> None:
        self._building.read(lambda s: is_stored(s, self._team_id, md5, sha256, size))

    def object(self, md5: str, sha256: str, size: int) -> None:
        self._building.register_object(self._team_id, self._upload, md5, sha256, size)

    def room(self, size: int) -> None:
        self._building.check_space(self._team_id, size)
