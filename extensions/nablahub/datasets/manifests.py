"""Manifests in a store: the pages of a version, and where each lies.

A manifest object holds the pages that are new with its version, then the list of all of them,
then a footer. Pages that another version of the dataset has already stored are pointed at::

    <page bytes>…
    <digest> <files> <size> <version|-> <offset> <length> <first path>\\n …
    8 magic, 8 offset of the list, 8 its length (little-endian)
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from nablahub.core.objects import ObjectStore
from nablahub.datasets.dvc import DirHasher, DirObject
from nablahub.datasets.layout import manifest_key
from nablahub.datasets.manifest import Entry, Page, Root, decode, order, paginate

MAGIC: Final = b"NABLMF1\n"
FOOTER: Final = 24


@dataclass(frozen=True)
class Written:
    """What a new manifest is: its list of pages and its ``.dir`` object for DVC."""

    root: Root
    dir_object: DirObject


def write_manifest(
    store: ObjectStore,
    dataset: str,
    version: str,
    entries: Iterable[Entry],
    parent: Root | None = None,
) -> Written:
    """Store the manifest of a version; nothing is seen of it before it is whole.

    Parameters
    ----------
    entries : iterable of Entry
        All files, sorted and checked; read once, so it may be a stream.
    parent : Root or None
        A version of the same dataset whose pages are reused where they are equal.
    """
    known = {page.digest: page.place for page in parent.pages} if parent else {}
    hasher = DirHasher()
    pages: list[Page] = []
    offset = 0
    with store.create(manifest_key(dataset, version)) as writer:
        for page, data, rows in paginate(entries):
            hasher.add(rows)
            place = known.get(page.digest)
            if place is None:
                writer.write(data)
                place = f"{version} {offset} {len(data)}"
                offset += len(data)
            pages.append(Page(page.digest, page.files, page.size, page.first, place))
        listed = "".join(
            f"{p.digest} {p.files} {p.size} {p.place} {p.first}\n" for p in pages
        ).encode()
        writer.write(listed)
        writer.write(MAGIC + struct.pack("<QQ", offset, len(listed)))
        writer.commit()
    return Written(Root(tuple(pages)), hasher.finish())


class ManifestReader:
    """Reads one version's manifest, a page at a time.

    Parameters
    ----------
    store : ObjectStore
        The team's store.
    dataset, version : str
        Whose manifest; ``version`` is the 7 characters.
    """

    def __init__(self, store: ObjectStore, dataset: str, version: str) -> None:
        self._store = store
        self._dataset = dataset
        self._version = version
        self.root = self._read_root()

    def _read_root(self) -> Root:
        key = manifest_key(self._dataset, self._version)
        size = self._store.size(key)
        if size is None:
            raise FileNotFoundError(key)
        footer = self._store.read(key, size - FOOTER, FOOTER)
        if footer[:8] != MAGIC:
            raise OSError(f"{key} is damaged: it does not end as a manifest does.")
        offset, length = struct.unpack("<QQ", footer[8:])
        pages: list[Page] = []
        for line in self._store.read(key, offset, length).decode().split("\n")[:-1]:
            digest, files, count, holder, start, extent, first = line.split(" ", 6)
            place = f"{holder} {start} {extent}"
            pages.append(Page(digest, int(files), int(count), first, place))
        return Root(tuple(pages))

    def page_bytes(self, number: int) -> bytes:
        """Return the text of a page."""
        holder, start, length = self.root.pages[number].place.split(" ")
        return self._store.read(manifest_key(self._dataset, holder), int(start), int(length))

    def page(self, number: int) -> list[Entry]:
        """Return the entries of a page."""
        return decode(self.page_bytes(number))

    def entries(self) -> Iterator[Entry]:
        """Yield all entries in order."""
        for number in range(len(self.root.pages)):
            yield from self.page(number)

    def find(self, path: str) -> Entry | None:
        """Return the entry of a path; reads one page."""
        number = self.root.find(path)
        if number < 0:
            return None
        rows = self.page(number)
        place = bisect_left(rows, path.encode(), key=order)
        return rows[place] if place < len(rows) and rows[place].path == path else None

    def after(self, path: str, *, prefix: str = "") -> Iterator[Entry]:
        """Yield the entries after a path (empty: from the start) that begin with a prefix."""
        start = max(path, prefix, key=str.encode)
        for number in range(max(self.root.find(start), 0), len(self.root.pages)):
            for entry in self.page(number):
                if prefix and not entry.path.startswith(prefix):
                    if order(entry) > prefix.encode():
                        return
                elif not path or order(entry) > path.encode():
                    yield entry
