"""Manifests in a store: the pages of a version, and where each lies.

A manifest object holds the pages that are new with its version, then the list of all of them,
then a footer. Pages that another version of the dataset has already stored are pointed at::

    <page bytes>…
    <digest> <files> <size> <version|-> <offset> <length> <first path>\\n …
    8 magic, 8 offset of the list, 8 its length (little-endian)
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import batched
from typing import Final

from nablahub.core.objects import CHUNK, ObjectStore
from nablahub.datasets.dvc import DirHasher, DirObject, rows_of
from nablahub.datasets.errors import DamagedManifest
from nablahub.datasets.layout import manifest_key
from nablahub.datasets.manifest import Entry, Page, Root, Rows, Stored, decode, order, paginate
from nablahub.datasets.memory import Memory
from nablahub.datasets.roots import Roots
from nablahub.datasets.runs import Place, runs

MAGIC: Final = b"NABLMF1\n"
FOOTER: Final = 24
#: Bytes at the end of a manifest object that are read first: its footer, and mostly its list.
TAIL: Final = 64 * 1024
#: Pages that are read ahead: of some 120 KiB each.
AHEAD: Final = 64
#: Most files of a version whose ``.dir`` object is derived while it is committed: in some 50 ms.
DERIVED_AT_ONCE: Final = 16 * 1024


@dataclass(frozen=True)
class Written:
    """What a new manifest is: its list of pages and its ``.dir`` object for DVC.

    The object of one that was made from another's pages is derived later, for it needs every file;
    so is that of one of very many files, for nobody shall wait for what few ask for.
    """

    root: Root
    dir_object: DirObject | None


def write_manifest(
    store: ObjectStore,
    dataset: str,
    version: str,
    groups: Iterable[Rows],
    parent: Root | None = None,
) -> Written:
    """Store the manifest of a version; nothing is seen of it before it is whole.

    Parameters
    ----------
    groups : iterable of Rows
        All files, sorted and checked; read once, so it may be a stream.
    parent : Root or None
        A version of the same dataset whose pages are reused where they are equal.
    """
    hasher = DirHasher()

    def hashed() -> Iterator[Stored]:
        files = 0
        for stored in paginate(groups):
            files += stored.page.files
            if files <= DERIVED_AT_ONCE:
                hasher.add_rows(rows_of(stored.data or b""))
            yield stored

    root = write_pages(store, dataset, version, hashed(), parent)
    return Written(root, hasher.finish() if root.files <= DERIVED_AT_ONCE else None)


def write_pages(
    store: ObjectStore,
    dataset: str,
    version: str,
    stored: Iterable[Stored],
    parent: Root | None = None,
) -> Root:
    """Store a manifest of pages, some of which may be stored already; see `write_manifest`."""
    known = {page.digest: page.place for page in parent.pages} if parent else {}
    pages: list[Page] = []
    offset = 0
    with store.create(manifest_key(dataset, version)) as writer:
        for page, data in stored:
            place = page.place or known.get(page.digest)
            if not place:
                if data is None:
                    raise AssertionError("a page without bytes or place")
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
    return Root(tuple(pages))


def parse_root(text: bytes) -> Root:
    """Return the list of pages that a manifest object holds; ValueError when it is none."""
    pages: list[Page] = []
    for line in text.decode().split("\n")[:-1]:
        digest, files, count, holder, start, extent, first = line.split(" ", 6)
        pages.append(Page(digest, int(files), int(count), first, f"{holder} {start} {extent}"))
    return Root(tuple(pages))


class ManifestReader:
    """Reads one version's manifest, a page at a time.

    Parameters
    ----------
    store : ObjectStore
        The team's store.
    dataset, version : str
        Whose manifest; ``version`` is the 7 characters.
    digest : str or None
        What the list of pages must have; None: it is not compared.
    roots : Roots or None
        Lists that were read before; None: it is read from the store.
    pages : Memory or None
        Texts of pages that were read before; None: all are read from the store.
    """

    def __init__(
        self,
        store: ObjectStore,
        dataset: str,
        version: str,
        digest: str | None = None,
        roots: Roots | None = None,
        pages: Memory | None = None,
    ) -> None:
        self._digest = digest
        self._roots = roots
        self._pages = pages or Memory(0)
        self._store = store
        self._dataset = dataset
        self._version = version
        self._last: tuple[int, list[Entry]] = (-1, [])
        self._last_text = (-1, b"")

    @cached_property
    def root(self) -> Root:
        """The list of its pages, read when it is first needed: not in whose transaction it is made.

        Raises
        ------
        DamagedManifest
            When the manifest is gone, or is not the one that was stored.
        """
        if self._roots is None:
            return self._read_root()
        key = (self._dataset, self._version, self._digest or "")
        return self._roots.get(key, self._read_root)

    def _read_root(self) -> Root:
        key = manifest_key(self._dataset, self._version)
        try:
            data, size = self._store.tail(key, TAIL)
        except FileNotFoundError as error:
            raise DamagedManifest(f"{self._dataset}:{self._version}") from error
        listed, footer = data[:-FOOTER], data[-FOOTER:]
        if len(footer) < FOOTER or footer[:8] != MAGIC:
            raise DamagedManifest(f"{self._dataset}:{self._version}")
        offset, length = struct.unpack("<QQ", footer[8:])
        if offset + length + FOOTER != size:
            raise DamagedManifest(f"{self._dataset}:{self._version}")
        if length > len(listed):
            listed = self._store.read(key, offset, length)
        try:
            root = parse_root(listed[len(listed) - length :])
        except ValueError as error:
            raise DamagedManifest(f"{self._dataset}:{self._version}") from error
        if self._digest is not None and root.digest != self._digest:
            raise DamagedManifest(f"{self._dataset}:{self._version}")
        return root

    def page_bytes(self, number: int) -> bytes:
        """Return the text of a page; DamagedManifest when it is not what was stored."""
        return self.texts([number])[number]

    def texts(self, numbers: Iterable[int]) -> dict[int, bytes]:
        """Return the texts of some pages; those that lie close together are read at once."""
        places: list[Place] = []
        found: dict[int, bytes] = {}
        for number in numbers:
            page = self.root.pages[number]
            if (known := self._pages.get(page.digest)) is not None:
                found[number] = known
                continue
            holder, offset, size = page.place.split(" ")
            places.append((holder, int(offset), int(size), number))
        for run in runs(sorted(places)):
            holder, first, _, _ = run[0]
            data = self._read(holder, first, run[-1][1] + run[-1][2] - first)
            for _, start, length, number in run:
                page, part = self.root.pages[number], data[start - first : start - first + length]
                found[number] = self._proved([page], part)
                self._pages.keep(page.digest, part)
        return found

    def _read(self, holder: str, start: int, length: int) -> bytes:
        try:
            return self._store.read(manifest_key(self._dataset, holder), start, length)
        except FileNotFoundError as error:
            raise DamagedManifest(f"{self._dataset}:{self._version}") from error

    def _proved(self, pages: list[Page], data: bytes) -> bytes:
        """Return the text of pages that lie side by side, when each has its digest."""
        end = 0
        for page in pages:
            start, end = end, end + int(page.place.rpartition(" ")[2])
            if hashlib.sha256(memoryview(data)[start:end]).hexdigest() != page.digest:
                raise DamagedManifest(f"{self._dataset}:{self._version}", page.first)
        return data

    def chunks(self) -> Iterator[bytes]:
        """Yield the text of all pages; those that lie side by side are read at once."""
        run: list[Page] = []
        holder, start, length = "", 0, 0
        for page in self.root.pages:
            name, place, extent = page.place.split(" ")
            if name == holder and int(place) == start + length and length < CHUNK:
                length += int(extent)
                run.append(page)
                continue
            if run:
                yield self._proved(run, self._read(holder, start, length))
            run, holder, start, length = [page], name, int(place), int(extent)
        if run:
            yield self._proved(run, self._read(holder, start, length))

    def page(self, number: int) -> list[Entry]:
        """Return the entries of a page; the one read last is kept."""
        if self._last[0] != number:
            self._last = number, decode(self.page_bytes(number))
        return self._last[1]

    def rows(self, number: int) -> Rows:
        """Return the rows of a page."""
        return Rows.of_page(self.page_bytes(number))

    def entries(self) -> Iterator[Entry]:
        """Yield all entries in order."""
        for numbers in batched(range(len(self.root.pages)), AHEAD):
            texts = self.texts(numbers)
            for number in numbers:
                yield from decode(texts[number])

    def find(self, path: str) -> Entry | None:
        """Return the entry of a path; reads one page."""
        number = self.root.find(path)
        if number < 0:
            return None
        text = self._text(number)
        place = _place(text, path.encode())
        found = decode(text[place : text.find(b"\n", place) + 1])
        return found[0] if found and found[0].path == path else None

    def from_path(self, path: str) -> Entry | None:
        """Return the first entry at or after a path, in the order of the bytes."""
        return next(self._from(path), None)

    def _from(self, path: str) -> Iterator[Entry]:
        """Yield the entries at or after a path; of a page no more lines are read than are asked."""
        key = path.encode()
        for number in range(max(self.root.find(path), 0), len(self.root.pages)):
            text = self._text(number)
            place = _place(text, key)
            while place < len(text):
                end = text.index(b"\n", place) + 1
                yield decode(text[place:end])[0]
                place = end

    def _text(self, number: int) -> bytes:
        """Return the text of a page; the one read last is kept."""
        if self._last_text[0] != number:
            self._last_text = number, self.page_bytes(number)
        return self._last_text[1]

    def folder(self, folder: str, after: str = "") -> Iterator[Entry | str]:
        """Yield what lies in a folder: entries of its files, names of the folders in it.

        Parameters
        ----------
        folder : str
            With a slash at its end; empty for the version's own.
        after : str
            Begin behind this path: a file's, or a folder's without slash.
        """
        # "0" follows "/" in ASCII: nothing sorts between a folder's last file and it.
        start = folder
        if after:
            inside = self.from_path(f"{after}/")
            is_folder = inside is not None and inside.path.startswith(f"{after}/")
            start = f"{after}0" if is_folder else f"{after}\0"
        found = self._from(start)
        while (entry := next(found, None)) is not None and entry.path.startswith(folder):
            name, slash, _ = entry.path[len(folder) :].partition("/")
            if slash:
                yield folder + name
                found = self._from(f"{folder}{name}0")
            else:
                yield entry

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


def _place(page: bytes, key: bytes) -> int:
    """Return where the first line of a page at or after a path begins; its length: there is none.

    Only the lines on the way are looked at: a folder of many folders is listed by one search for
    each, most of them in pages of their own.
    """
    low, high = 0, len(page)
    while low < high:
        middle = (low + high) // 2
        start = page.rfind(b"\n", low, middle) + 1 or low
        end = page.index(b"\n", middle)
        if page[start:end].split(b" ", 4)[4] < key:
            low = end + 1
        else:
            high = start
    return low
