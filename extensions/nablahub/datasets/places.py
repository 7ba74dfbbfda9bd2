"""Where the bytes of datasets lie."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from itertools import batched
from typing import Final

from sqlalchemy.orm import Session

from nablahub.core.context import Context
from nablahub.core.objects import ObjectStore
from nablahub.core.wire import LARGEST
from nablahub.datasets.arriving import Waiting
from nablahub.datasets.comparing import Empty
from nablahub.datasets.contents import Contents, PackTables
from nablahub.datasets.dvc import DirHasher, DirObject, DirRows
from nablahub.datasets.intake import Parts
from nablahub.datasets.manifest import Entry, Stored
from nablahub.datasets.manifests import AHEAD, ManifestReader, Written, write_pages
from nablahub.datasets.memory import Memory
from nablahub.datasets.outsiders import OutsideContents, Shown
from nablahub.datasets.patching import Patch
from nablahub.datasets.proofs import Proofs
from nablahub.datasets.quota import Quota
from nablahub.datasets.roots import Roots
from nablahub.datasets.store import DatasetRow, VersionRow, pack_names
from nablahub.datasets.uploads import NOT_YET
from nablahub.storage.service import PROVIDER, StorageService, Store

#: Bytes of pages of manifests that are kept in memory, about 120 KiB for a thousand files.
PAGES_KEPT: Final = 16 * 1024 * 1024


class Places:
    """What lies where: objects, manifests, and what is arriving."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.settings = context.settings
        self.tables = PackTables()
        self.dir_rows = DirRows()
        self._roots = Roots()
        self._pages = Memory(PAGES_KEPT)
        self.proofs = Proofs()
        self._shown = Shown()
        #: Tell how many bytes of a space other slices hold.
        self.holders: list[Callable[[Session, str], int]] = []
        #: Let go of what nobody needs in a space that is full, in a thread; tell how much that was.
        self.room_makers: list[Callable[[str], int]] = []
        self._parts: dict[str, Parts] = {}
        self._waiting: dict[str, Waiting] = {}

    def quota(self, space: str) -> Quota:
        """Return what bounds the bytes of a space; a team's own bucket is its own affair."""
        own = space.startswith(PROVIDER)
        return Quota(space, LARGEST if own else self.settings.dataset_quota_bytes, self.holders)

    def store(self, space: str) -> Store:
        """Return the object store of a space; see :attr:`DatasetRow.space`."""
        storage = self._context.get(StorageService)
        if space.startswith(PROVIDER):
            return storage.provider_store(space)
        return storage.team_store(space)

    def is_direct(self, dataset: DatasetRow) -> bool:
        """Whether clients exchange a dataset's bytes with its store by themselves."""
        return self._context.get(StorageService).is_direct(dataset.provider_id)

    def parts(self, space: str) -> Parts:
        """Return what is arriving at the service for a space."""
        root = self.settings.state.objects / space / "parts"
        return self._parts.setdefault(space, Parts(root))

    def waiting(self, space: str) -> Waiting:
        """Return how much of a space no row counts yet."""
        return self._waiting.setdefault(space, Waiting(self.parts(space).root))

    def contents(self, session: Session, dataset: DatasetRow) -> Contents:
        """Return the objects of a dataset."""
        names = pack_names(session, dataset.id)
        return Contents(self.store(dataset.space), dataset.id, names, self.tables)

    def outside(self, contents: Contents, version_id: str, manifest: ManifestReader) -> Contents:
        """Return the objects of a dataset as readers of one version outside its team see them."""
        shown = self._shown.md5s(version_id, manifest)
        return OutsideContents(contents.store, contents.dataset, contents.packs, self.tables, shown)

    def manifest(
        self, dataset: DatasetRow, version: VersionRow, *, anew: bool = False
    ) -> ManifestReader:
        """Return the manifest of a version; ``anew``: nothing of it is taken from memory."""
        store = self.store(dataset.space)
        known = (None, None) if anew else (self._roots, self._pages)
        return ManifestReader(store, dataset.id, version.version, version.digest, *known)

    def write_patch(
        self,
        store: ObjectStore,
        dataset: DatasetRow,
        version: str,
        base: VersionRow | None,
        puts: Mapping[str, Entry],
        drops: Collection[str],
    ) -> Written:
        """Store the manifest of a version that differs in some files from another.

        What is new in it is kept in memory: who changes a file mostly reads it, or the next one.

        Parameters
        ----------
        store : ObjectStore
            The dataset's, which was told of it.
        version : str
            The 7 characters of the new one.
        base : VersionRow or None
            What it differs from; None: from nothing.
        puts, drops
            See :class:`Patch`.
        """
        reader = Empty() if base is None else self.manifest(dataset, base)

        def kept() -> Iterator[Stored]:
            for stored in Patch(reader, puts, drops).pages():
                if stored.data is not None:
                    self._pages.keep(stored.page.digest, stored.data)
                yield stored

        root = write_pages(store, dataset.id, version, kept())
        return Written(self._roots.get((dataset.id, version, root.digest), lambda: root), None)

    def dvc_tree(self, dataset: DatasetRow, version: VersionRow) -> DirObject:
        """Return what DVC calls a version's tree; reads all of the manifest if nobody has yet."""
        if version.dvc_md5 != NOT_YET:
            return DirObject(version.dvc_md5, version.dvc_size)
        hasher = DirHasher()
        reader = self.manifest(dataset, version)
        for pages in batched(enumerate(reader.root.pages), AHEAD):
            # Many at once: in an S3 each page by itself would be a request of its own.
            unknown = [n for n, page in pages if page.digest not in self.dir_rows]
            texts = reader.texts(unknown)
            for number, page in pages:
                hasher.add_rows(
                    self.dir_rows.get(page.digest, partial(_text, reader, texts, number))
                )
        return hasher.finish()


def _text(reader: ManifestReader, texts: Mapping[int, bytes], number: int) -> bytes:
    """Return the text of a page, which was read ahead unless its rows were forgotten meanwhile."""
    return texts[number] if number in texts else reader.page_bytes(number)
