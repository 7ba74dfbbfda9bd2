"""Work on versions that takes time: taking bytes in, committing, materialising, deleting.

Everything here blocks and runs in a thread, outside of requests' transactions; each database
access is a short transaction of its own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from nablahub.core.context import Context
from nablahub.core.errors import NablaError
from nablahub.core.objects import ObjectStore
from nablahub.core.times import now
from nablahub.datasets import garbage, uploads
from nablahub.datasets.cache import materialise, sweep
from nablahub.datasets.contents import Contents
from nablahub.datasets.errors import NoSuchDataset, NoSuchUpload, NoSuchVersion
from nablahub.datasets.intake import Received, check_room
from nablahub.datasets.layout import cache_name, manifest_key, object_key, pack_key
from nablahub.datasets.local import TreeStorer, make_readable
from nablahub.datasets.manifest import KIND_FILE, Entry, Parser, Root
from nablahub.datasets.manifests import ManifestReader, Written, write_manifest
from nablahub.datasets.packs import SMALL
from nablahub.datasets.scan import Found, scan
from nablahub.datasets.store import (
    DatasetRow,
    GarbageRow,
    ObjectRow,
    PackRow,
    UploadRow,
    VersionRow,
)
from nablahub.datasets.types import ObjectName
from nablahub.datasets.uploads import Check, Origin

if TYPE_CHECKING:
    from nablahub.datasets.service import DatasetService


class Building:
    """The slow half of :class:`DatasetService`."""

    def __init__(self, context: Context, datasets: DatasetService) -> None:
        self._context = context
        self._datasets = datasets
        self._loop: asyncio.AbstractEventLoop | None = None
        self._making: dict[Path, threading.Lock] = {}
        self._lock = threading.Lock()

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

    def sweep(self) -> None:
        """Delete what a process left when it died; nobody may be writing."""
        state = self._context.settings.state
        sweep(state.cache)
        for folder in state.objects.glob("*"):
            store = self._datasets.store(folder.name)
            store.sweep()
            for key in self.read(partial(garbage.orphans, store=store, team_id=folder.name)):
                store.remove(key)

    # Taking in.

    def check_space(self, team_id: str, size: int) -> None:
        """Raise DatasetQuota or StorageFull when ``size`` more bytes are too many."""
        settings = self._datasets.settings
        self.read(lambda s: uploads.check_quota(s, team_id, size, settings.dataset_quota_bytes))
        check_room(settings.state.objects, size, settings.min_free_bytes)

    def register_pack(self, team_id: str, upload: UploadRow, pack: str, got: Received) -> None:
        """Count a stored pack; one that may not stay is deleted before the error leaves."""
        row = PackRow(
            dataset_id=upload.dataset_id, pack=pack, team_id=team_id, size=got.size,
            count=got.objects, upload_id=upload.id, created_at=now(),
        )  # fmt: skip
        store, limit = self._datasets.store(team_id), self._datasets.settings.dataset_quota_bytes
        with self._undone(team_id, "pack", pack_key(upload.dataset_id, pack)):
            self.write(lambda s: uploads.register_pack(s, store, upload, row, limit))

    def register_object(
        self, team_id: str, upload: UploadRow, md5: str, sha256: str, size: int
    ) -> None:
        """Count a stored large object; one that may not stay is deleted first."""
        row = ObjectRow(team_id=team_id, md5=md5, sha256=sha256, size=size, created_at=now())
        store, limit = self._datasets.store(team_id), self._datasets.settings.dataset_quota_bytes
        with self._undone(team_id, "object", object_key(md5)):
            self.write(lambda s: uploads.register_object(s, store, upload, row, limit))

    def keep(self, dataset: DatasetRow, upload: UploadRow, file: Path, name: ObjectName) -> None:
        """Make a file that was proved part of the store: a small one in a pack, a large one alone.

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
            self._datasets.store(dataset.team_id).adopt(file, object_key(name.md5))
            self.register_object(dataset.team_id, upload, name.md5, name.sha256, name.size)

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

    # Committing.

    def commit(self, dataset: DatasetRow, upload: UploadRow, lines: Iterable[bytes]) -> VersionRow:
        """Make a version of an upload from the text of its manifest; whole or not at all.

        Raises
        ------
        BadManifest, BadPath, MissingObjects
            Naming line or path.
        """
        parser = Parser()

        def entries() -> Iterator[Entry]:
            for data in lines:
                yield from parser.feed(data)
            parser.close()

        return self.commit_entries(dataset, upload, entries(), None)

    def commit_entries(
        self, dataset: DatasetRow, upload: UploadRow, entries: Iterable[Entry], key: str | None
    ) -> VersionRow:
        """Make a version of sorted, checked entries; MissingObjects names those without bytes."""
        store = self._datasets.store(dataset.team_id)

        def write(session: Session) -> tuple[Check, Written]:
            contents = self._datasets.contents(session, dataset)
            check = Check(session, contents, dataset.team_id)
            parent = self._root_of_latest(session, store, dataset)
            checked = check.through(entries)
            return check, write_manifest(store, dataset.id, upload.version, checked, parent)

        check, written = self.read(write)

        def finish(session: Session) -> VersionRow:
            row = uploads.finish(session, upload, check, written, key)
            current = session.get_one(DatasetRow, dataset.id)
            self._datasets.tell(session, current, "changed")
            self._datasets.collect_later(session, current.team_id)
            return row

        try:
            return self.write(finish)
        except BaseException:
            if self.read(lambda s: s.get(VersionRow, upload.id)) is None:
                store.remove(manifest_key(dataset.id, upload.version))
            raise

    def _root_of_latest(
        self, session: Session, store: ObjectStore, dataset: DatasetRow
    ) -> Root | None:
        current = session.get(DatasetRow, dataset.id)
        latest = session.get(VersionRow, current.latest) if current and current.latest else None
        return ManifestReader(store, dataset.id, latest.version).root if latest else None

    def commit_tree(self, dataset_id: str, tree: Path, origin: Origin) -> str:
        """Commit a folder of this machine; see :meth:`DatasetService.commit_tree`."""
        done = self.read(lambda s: self._by_key(s, origin.key))
        if done is not None:
            return done

        def begin(session: Session) -> tuple[DatasetRow, UploadRow, Contents] | None:
            row = session.get(DatasetRow, dataset_id)
            if row is None:
                return None
            return row, uploads.begin(session, row, origin), self._datasets.contents(session, row)

        begun = self.write(begin)
        if begun is None:
            raise NoSuchDataset(dataset_id)
        dataset, upload, contents = begun
        try:
            storer = self.storer(dataset, upload, contents)
            try:
                entries = list(storer.entries(scan(tree)))
            except PermissionError:
                make_readable(tree)
                entries = list(storer.entries(scan(tree)))
            return self.commit_entries(dataset, upload, entries, origin.key).id
        except (NablaError, OSError):
            self.cancel(dataset.team_id, upload)
            done = self.read(lambda s: self._by_key(s, origin.key))
            if done is not None:  # Somebody else committed the same work at the same time.
                return done
            raise

    def storer(self, dataset: DatasetRow, upload: UploadRow, contents: Contents) -> TreeStorer:
        """Return what stores and counts files of this machine for an upload."""
        register = _Register(self, dataset.team_id, upload)
        return TreeStorer(contents.store, dataset.id, set(contents.packed()), register)

    def _by_key(self, session: Session, key: str | None) -> str | None:
        if key is None:
            return None
        return session.scalars(select(VersionRow.id).where(VersionRow.key == key)).first()

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

        def look(session: Session) -> tuple[DatasetRow, VersionRow, Contents]:
            version = session.get(VersionRow, version_id)
            if version is None:
                raise NoSuchVersion(version_id)
            dataset = session.get_one(DatasetRow, version.dataset_id)
            return dataset, version, self._datasets.contents(session, dataset)

        dataset, version, contents = self.read(look)
        name = cache_name(dataset.id, version.version)
        entries = self._datasets.manifest(dataset, version).entries
        return self.tree(contents, entries, dataset.team_id, name)

    def tree(
        self,
        contents: Contents,
        entries: Callable[[], Iterable[Entry]],
        team_id: str,
        name: str,
    ) -> Path:
        """Make a read-only tree of some entries in a team's cache, once."""
        target = self._context.settings.state.cache / team_id / name
        if target.is_dir():
            return target
        with self._lock:
            lock = self._making.setdefault(target, threading.Lock())
        with lock:  # The second of two that want the same tree waits instead of making it again.
            materialise(contents, entries(), target)
        with self._lock:
            self._making.pop(target, None)
        return target

    # Deleting.

    async def _collect(self, team_id: str) -> float | None:
        more = await asyncio.to_thread(self._collect_batch, team_id)
        return 0.01 if more else None

    def _collect_batch(self, team_id: str) -> bool:
        store, parts = self._datasets.store(team_id), self._datasets.parts(team_id)
        cache = self._context.settings.state.cache / team_id
        return self.write(lambda s: garbage.collect(s, store, parts, cache, team_id))

    def collect_now(self, team_id: str) -> None:
        """Delete all of a team's left-over bytes, in this thread."""
        while self._collect_batch(team_id):
            pass

    def resume(self, session: Session) -> None:
        """Take up deletions that were left, and give up stale uploads."""
        for upload in uploads.stale(session):
            dataset = session.get_one(DatasetRow, upload.dataset_id)
            uploads.end(session, dataset.team_id, upload)
        for team_id in garbage.teams_with_garbage(session):
            self._datasets.collect_later(session, team_id)

    def upload(self, session: Session, dataset: DatasetRow, ref: str) -> UploadRow:
        """Return an open upload by its 7 characters or its whole id; NoSuchUpload if it is not."""
        name = ref.removeprefix(f"{dataset.id}:")
        row = session.get(UploadRow, f"{dataset.id}:{name}")
        if row is None:
            raise NoSuchUpload(ref)
        return row


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

    def __init__(self, building: Building, team_id: str, upload: UploadRow) -> None:
        self._building, self._team_id, self._upload = building, team_id, upload

    def pack(self, name: str, size: int, count: int) -> None:
        self._building.register_pack(self._team_id, self._upload, name, Received(size, count))

    def object(self, md5: str, sha256: str, size: int) -> None:
        self._building.register_object(self._team_id, self._upload, md5, sha256, size)

    def room(self, size: int) -> None:
        self._building.check_space(self._team_id, size)
