"""Making versions: from a manifest's text, from what differs, from a folder of this machine.

Everything here blocks and runs in a thread; see :mod:`nablahub.datasets.building`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy.orm import Session

from nablahub.core.context import Context
from nablahub.core.errors import NablaError
from nablahub.core.objects import ObjectStore
from nablahub.core.times import now
from nablahub.core.turns import Turns
from nablahub.datasets import uploads
from nablahub.datasets.contents import Contents
from nablahub.datasets.errors import DamagedManifest, NoSuchDataset, NoSuchUpload, UploadLost
from nablahub.datasets.lacking import GROUP, Check
from nablahub.datasets.layout import manifest_key
from nablahub.datasets.local import make_readable
from nablahub.datasets.manifest import Entry, Parser, Root, Rows
from nablahub.datasets.manifests import write_manifest
from nablahub.datasets.patching import split_drops
from nablahub.datasets.scan import scan
from nablahub.datasets.store import DatasetRow, UploadRow, VersionRow, by_key, damaged, objects_of
from nablahub.datasets.threads import in_thread
from nablahub.datasets.uploads import Origin

if TYPE_CHECKING:
    from nablahub.datasets.building import Building
    from nablahub.datasets.service import DatasetService

#: What looks after versions whose DVC tree has not been derived yet.
DVC_TREES: Final = "dataset-dvc-tree"
#: Who commits file after file shall not wait for it.
SETTLED: Final = timedelta(seconds=2)


class Committing:
    """Commits of all datasets."""

    def __init__(self, context: Context, building: Building, datasets: DatasetService) -> None:
        self._context, self._building, self._datasets = context, building, datasets
        self._turns: Turns[str] = Turns()

    def once(self, upload: UploadRow, work: Callable[[], VersionRow]) -> VersionRow:
        """Make the version of an upload, or return it when another request has made it meanwhile.

        Who sends a commit again, since its line was cut, may come while the first one goes on.
        Two at a time would write the same manifest, the later one upon pages of the earlier.
        """

        def look() -> VersionRow | None:
            return self._building.read(lambda s: s.get(VersionRow, upload.id))

        with self._turns.take(upload.id):
            if (done := look()) is not None:
                return done
            try:
                return work()
            except NoSuchUpload:  # Another process of the service was faster, or it is cancelled.
                if (done := look()) is not None:
                    return done
                raise

    def commit(
        self,
        dataset: DatasetRow,
        upload: UploadRow,
        lines: Iterable[bytes],
        base: VersionRow | None = None,
    ) -> VersionRow:
        """Make a version of an upload from the text of its manifest; whole or not at all.

        Parameters
        ----------
        base : VersionRow or None
            The text tells how the new version differs from this one: first the files that go, as
            ``- <path>``, then the lines of those that are new or changed.

        Raises
        ------
        BadManifest, BadPath, MissingObjects
            Naming line or path.
        """
        parser = Parser()
        if base is not None:
            text = b"".join(lines)
            gone, rest = split_drops(text)
            puts = {entry.path: entry for entry in parser.feed(rest)}
            parser.close()
            return self.commit_patch(dataset, upload, base, puts, gone)

        def groups() -> Iterator[Rows]:
            for data in lines:
                yield parser.rows(data)
            parser.close()

        return self.once(upload, lambda: self._make_rows(dataset, upload, groups(), None))

    def commit_patch(
        self,
        dataset: DatasetRow,
        upload: UploadRow,
        base: VersionRow,
        puts: Mapping[str, Entry],
        drops: Collection[str],
    ) -> VersionRow:
        """Make a version that differs in some files from another; raises as :meth:`commit`."""

        def work() -> VersionRow:
            store = self.claim_store(dataset, upload)
            check = self.check(dataset)
            for _ in check.through([Rows.of(puts.values())]):
                pass
            written = self._datasets.write_patch(store, dataset, upload.version, base, puts, drops)
            return self.finish(
                dataset, upload, lambda s: uploads.finish(s, upload, check, written, None, base)
            )

        return self.once(upload, work)

    def commit_entries(
        self, dataset: DatasetRow, upload: UploadRow, entries: Iterable[Entry], key: str | None
    ) -> VersionRow:
        """Make a version of sorted, checked entries.

        Raises
        ------
        MissingObjects
            Naming those without bytes.
        UploadLost
            When another request made the upload's version meanwhile, maybe of other entries.
        """
        groups = map(Rows.of, batched(entries, GROUP))
        made = False

        def work() -> VersionRow:
            nonlocal made
            row = self._make_rows(dataset, upload, groups, key)
            made = True
            return row

        row = self.once(upload, work)
        if not made:
            raise UploadLost
        return row

    def _make_rows(
        self, dataset: DatasetRow, upload: UploadRow, groups: Iterable[Rows], key: str | None
    ) -> VersionRow:
        store = self.claim_store(dataset, upload)
        check = self.check(dataset)
        parent = self._root_of_base(dataset, upload)
        checked = check.through(groups)
        written = write_manifest(store, dataset.id, upload.version, checked, parent)
        return self.finish(
            dataset, upload, lambda s: uploads.finish(s, upload, check, written, key)
        )

    def check(self, dataset: DatasetRow) -> Check:
        """Return what sees whether the files of a new version have their bytes."""
        read = self._building.read
        contents = read(lambda s: self._datasets.contents(s, dataset))
        return Check(contents, lambda md5s: read(lambda s: objects_of(s, dataset.space, md5s)))

    def claim_store(self, dataset: DatasetRow, upload: UploadRow) -> ObjectStore:
        """Return a dataset's store, which is told that an upload's manifest is about to come."""
        store, key = self._datasets.store(dataset.space), manifest_key(dataset.id, upload.version)
        self._building.claim(store, dataset.space, upload, "manifest", key)
        return store

    def finish(
        self, dataset: DatasetRow, upload: UploadRow, make: Callable[[Session], VersionRow]
    ) -> VersionRow:
        """Make the row of a version whose manifest is stored; without it the manifest goes."""

        def finish(session: Session) -> VersionRow:
            row = make(session)
            current = session.get_one(DatasetRow, dataset.id)
            self._datasets.tell(session, current, "changed")
            self._datasets.collect_later(session, current.space)
            if row.dvc_md5 == uploads.NOT_YET:
                self._context.reconciler.wake(session, DVC_TREES, row.id)
            return row

        try:
            return self._building.write(finish)
        except BaseException:
            if self._building.read(lambda s: s.get(VersionRow, upload.id)) is None:
                store = self._datasets.store(dataset.space)
                key = manifest_key(dataset.id, upload.version)
                # Elsewhere it goes with its upload: another service may be about to count it.
                if store.local(key) is not None:
                    store.remove(key)
            raise

    async def derive_later(self, version_id: str) -> float | None:
        """Find out what DVC calls a version's tree, in a thread, once its committer has gone on."""
        row = await in_thread(self._building.read, lambda s: s.get(VersionRow, version_id))
        if row is not None and now() - row.created_at < SETTLED:
            return SETTLED.total_seconds()
        await in_thread(self.derive, version_id)
        return None

    def derive(self, version_id: str) -> None:
        """Find out and keep what DVC calls a version's tree, if nobody has yet."""

        def look(session: Session) -> tuple[DatasetRow, VersionRow] | None:
            row = session.get(VersionRow, version_id)
            return None if row is None else (session.get_one(DatasetRow, row.dataset_id), row)

        found = self._building.read(look)
        if found is None or found[1].dvc_md5 != uploads.NOT_YET:
            return
        tree = self._datasets.dvc_tree(*found)

        def keep(session: Session) -> None:
            row = session.get(VersionRow, version_id)
            if row is not None:
                row.dvc_md5, row.dvc_size = tree.md5, tree.size

        self._building.write(keep)

    def _root_of_base(self, dataset: DatasetRow, upload: UploadRow) -> Root | None:
        """Return the pages that a new version may point at; none where any of it is damaged.

        They are of the version that its upload began with, whatever is the latest by now: so who
        commits the same upload twice, by two services, writes the same bytes.
        """

        def look(session: Session) -> VersionRow | None:
            if upload.base is None or damaged(session, dataset.space, dataset.id):
                return None
            base = session.get(VersionRow, upload.base)
            return None if base is None or base.purge_at is not None else base

        base = self._building.read(look)
        with suppress(DamagedManifest):
            return self._datasets.manifest(dataset, base).root if base else None
        return None

    def commit_tree(self, dataset_id: str, tree: Path, origin: Origin) -> str:
        """Commit a folder of this machine; see :meth:`DatasetService.commit_tree`."""
        done = self._building.read(lambda s: by_key(s, origin.key))
        if done is not None:
            return done.id

        def begin(session: Session) -> tuple[DatasetRow, UploadRow, Contents] | None:
            row = session.get(DatasetRow, dataset_id)
            if row is None:
                return None
            return row, uploads.begin(session, row, origin), self._datasets.contents(session, row)

        begun = self._building.write(begin)
        if begun is None:
            raise NoSuchDataset(dataset_id)
        dataset, upload, contents = begun
        try:
            storer = self._building.storer(dataset, upload, contents)
            try:
                entries = list(storer.entries(scan(tree)))
            except PermissionError:
                make_readable(tree)
                entries = list(storer.entries(scan(tree)))
            return self.commit_entries(dataset, upload, entries, origin.key).id
        except (NablaError, OSError):
            self._building.cancel(dataset.space, upload)
            done = self._building.read(lambda s: by_key(s, origin.key))
            if done is not None:  # Somebody else committed the same work at the same time.
                return done.id
            raise

    def by_key(self, key: str) -> str | None:
        """Return the id of the version that was committed under a key, None when none was."""
        found = self._building.read(lambda s: by_key(s, key))
        return None if found is None else found.id
