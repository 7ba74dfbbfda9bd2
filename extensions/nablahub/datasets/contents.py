"""Finding the bytes of a dataset's objects: in its packs, or as files of its team."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import repeat
from typing import Final, NamedTuple

from nablahub.core.objects import ObjectStore
from nablahub.datasets.errors import BadObject, OtherBytes
from nablahub.datasets.layout import object_key, pack_key
from nablahub.datasets.packs import HEAD, ROW, SMALL, PackIndex, pack_name, read_count

CACHED_TABLES: Final = 128
#: Up to so many objects are looked for one by one, more in one pass over all tables.
FEW_WANTED: Final = 32


class Place(NamedTuple):
    """Where an object's bytes lie in the team's store."""

    key: str
    start: int
    size: int


class Known(NamedTuple):
    """What an object in a pack is: its number in that pack and the pack's table."""

    pack: str
    table: PackIndex
    number: int


class PackTables:
    """The tables of packs, the lately used ones kept in memory (≤ 3.7 MiB each, mostly 230 KiB)."""

    def __init__(self, limit: int = CACHED_TABLES) -> None:
        self._limit = limit
        self._tables: OrderedDict[str, PackIndex] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, store: ObjectStore, dataset: str, pack: str) -> PackIndex:
        """Return a pack's table, proved when it is read first.

        Raises
        ------
        BadObject
            When the store lacks the pack, or has another table than was stored.
        """
        with self._lock:
            if (found := self._tables.get(pack)) is not None:
                self._tables.move_to_end(pack)
                return found
        key = pack_key(dataset, pack)
        try:
            head = store.read(key, 0, HEAD)
            count = read_count(head)
            table = store.read(key, HEAD, ROW * count)
        except (FileNotFoundError, BadObject) as error:
            raise _damaged_pack(dataset, pack) from error
        if pack_name(head + table) != pack:
            raise _damaged_pack(dataset, pack)
        return self.keep(pack, PackIndex(count, table))

    def keep(self, pack: str, index: PackIndex) -> PackIndex:
        """Keep the table of a pack, which was proved; return it."""
        with self._lock:
            self._tables[pack] = index
            while len(self._tables) > self._limit:
                self._tables.popitem(last=False)
        return index

    def forget(self, pack: str) -> None:
        """Read a table anew when it is needed next."""
        with self._lock:
            self._tables.pop(pack, None)


def _damaged_pack(dataset: str, pack: str) -> BadObject:
    return BadObject(
        f"A pack of small files of {dataset} is damaged or gone (packs/{dataset}/{pack}).",
        hint=f"`nablahub datasets verify {dataset}` names the files, and restores those of which "
        "there is a copy.",
    )


class Contents:
    """The objects of one dataset.

    Parameters
    ----------
    store : ObjectStore
        The team's store.
    dataset : str
        Id of the dataset.
    packs : iterable of str
        Names of the dataset's packs.
    tables : PackTables
        Shared by all datasets.
    """

    def __init__(
        self, store: ObjectStore, dataset: str, packs: Iterable[str], tables: PackTables
    ) -> None:
        self.store = store
        self.dataset = dataset
        self.packs = tuple(packs)
        self._tables = tables

    def table(self, pack: str) -> PackIndex:
        """Return the table of one of the dataset's packs."""
        return self._tables.get(self.store, self.dataset, pack)

    def readable(self, packs: Iterable[str] | None = None) -> Iterator[tuple[str, PackIndex]]:
        """Yield the packs with their tables; what a damaged one held counts as missing."""
        for pack in self.packs if packs is None else packs:
            with suppress(BadObject):
                yield pack, self.table(pack)

    def heads(self) -> Iterator[bytes]:
        """Yield name and table of each pack, the newest first: what it holds was proved last."""
        for pack, index in self.readable(reversed(self.packs)):
            yield pack.encode() + index.head_bytes()

    def pack_size(self, pack: str) -> int | None:
        """Return the bytes of one of the dataset's packs, None when it is not there."""
        return self.store.size(pack_key(self.dataset, pack))

    def pack_chunks(self, pack: str, start: int, length: int) -> Iterator[bytes]:
        """Yield a range of a pack."""
        return self.store.chunks(pack_key(self.dataset, pack), start, length)

    def packed(self) -> dict[bytes, Known]:
        """Return every packed object by its md5."""
        found: dict[bytes, Known] = {}
        for pack, index in self.readable():
            for number, md5 in enumerate(index.md5s()):
                found[md5] = Known(pack, index, number)
        return found

    def packed_md5s(self) -> set[bytes]:
        """Return the md5s of all packed objects."""
        found: set[bytes] = set()
        for _, index in self.readable():
            found.update(index.md5s())
        return found

    def holders(self, digests: Sequence[bytes], sizes: Sequence[int]) -> list[str | None]:
        """Return which pack holds each of some objects, None for one that is in none.

        Parameters
        ----------
        digests : sequence of bytes
            md5 and sha256 (48 bytes) of each.
        sizes : sequence of int
            In bytes; these must be right, too.
        """
        if len(digests) <= FEW_WANTED:
            return list(map(self._holder, digests, sizes))
        wanted = set(digests)
        found: dict[bytes, tuple[int, str]] = {}
        for pack, index in self.readable():  # The newest comes last, and counts.
            held = index.digests()
            if not wanted.isdisjoint(held):
                found.update(zip(held, zip(index.sizes(), repeat(pack)), strict=False))
        places = map(found.get, digests)
        return [
            place[1] if place is not None and place[0] == size else None
            for place, size in zip(places, sizes, strict=True)
        ]

    def _holder(self, digest: bytes, size: int) -> str | None:
        for pack, index in self.readable(reversed(self.packs)):
            row = index.find(digest[:16])
            if row is not None and row.size == size and row.sha256 == digest[16:]:
                return pack
        return None

    def check_others(self, digests: Iterable[bytes]) -> None:
        """Raise OtherBytes when the packs hold other bytes under one of these md5s.

        Parameters
        ----------
        digests : iterable of bytes
            md5 and sha256 (48 bytes) of each.
        """
        wanted = {digest[:16]: digest[16:] for digest in digests}
        few = len(wanted) <= FEW_WANTED
        for _, index in self.readable() if wanted else ():
            for md5 in wanted if few else wanted.keys() & set(index.md5s()):
                row = index.find(md5)
                if row is not None and row.sha256 != wanted[md5]:
                    raise OtherBytes(md5.hex())

    def locate(self, md5: str, size: int | None = None) -> Place | None:
        """Return where one object lies; None when the dataset's packs and the team's files lack it.

        Parameters
        ----------
        md5 : str
            Hexadecimal.
        size : int or None
            In bytes when it is known; it says where to look first.
        """
        if size is None or size <= SMALL:
            for pack, index in self.readable(reversed(self.packs)):
                if (row := index.find(bytes.fromhex(md5))) is not None:
                    return Place(pack_key(self.dataset, pack), row.start, row.size)
        key = object_key(md5)
        actual = self.store.size(key)
        return None if actual is None else Place(key, 0, actual)

    def chunks(self, place: Place, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield an object's bytes, or a range of them."""
        length = place.size - start if length is None else length
        return self.store.chunks(place.key, place.start + start, length)
