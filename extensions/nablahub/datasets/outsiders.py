"""What readers outside a dataset's team get of its packs: what the version they read refers to.

A pack belongs to a dataset, not to a version: beside the objects of a public version lie those of
versions that were deleted, and of uploads that go on. For somebody else these are blank.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Final

from nablahub.core.objects import ObjectStore
from nablahub.datasets.contents import Contents, PackTables
from nablahub.datasets.manifests import ManifestReader
from nablahub.datasets.packs import HEAD, PackIndex

#: Of versions with so many files together the md5s are kept in memory (about 90 bytes each).
REMEMBERED: Final = 1_000_000
_NO_MD5: Final = bytes(16)


class Shown:
    """The md5s of versions that were read from outside lately; used by many threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, frozenset[bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def md5s(self, version_id: str, manifest: ManifestReader) -> frozenset[bytes]:
        """Return the md5s (16 bytes) of all files of a version."""
        with self._lock:
            if (found := self._known.get(version_id)) is not None:
                self._known.move_to_end(version_id)
                return found
        lines = (line for text in manifest.chunks() for line in text.decode().split("\n")[:-1])
        found = frozenset(bytes.fromhex(line[:32]) for line in lines)
        with self._lock:
            self._known[version_id] = found
            while len(self._known) > 1 and sum(map(len, self._known.values())) > REMEMBERED:
                self._known.popitem(last=False)
        return found


class OutsideContents(Contents):
    """The objects of a dataset, as somebody sees them who may read one version of it.

    Parameters
    ----------
    store, dataset, packs, tables
        See :class:`Contents`.
    shown : frozenset of bytes
        The md5s (16 bytes) that the version refers to.
    """

    def __init__(
        self,
        store: ObjectStore,
        dataset: str,
        packs: Iterable[str],
        tables: PackTables,
        shown: frozenset[bytes],
    ) -> None:
        super().__init__(store, dataset, packs, tables)
        self._shown = shown

    def table(self, pack: str) -> PackIndex:
        """Return a pack's table, in which what is not shown has zeros for its digests."""
        index = super().table(pack)
        hidden = self._hidden(index)
        if not hidden:
            return index
        n, table = index.count, bytearray(index.table)
        for number in hidden:
            table[16 * number : 16 * number + 16] = _NO_MD5
            table[16 * n + 32 * number : 16 * n + 32 * number + 32] = bytes(32)
        return PackIndex(n, bytes(table))

    def readable(self, packs: Iterable[str] | None = None) -> Iterator[tuple[str, PackIndex]]:
        """Yield the packs of which anything is shown, with their tables."""
        for pack, index in super().readable(packs):
            if any(md5 != _NO_MD5 for md5 in index.md5s()):
                yield pack, index

    def pack_chunks(self, pack: str, start: int, length: int) -> Iterator[bytes]:
        """Yield a range of a pack, in which what is not shown is zeros."""
        holes = self._holes(super().table(pack))
        for data in super().pack_chunks(pack, start, length):
            yield _blank(data, start, holes)
            start += len(data)

    def _hidden(self, index: PackIndex) -> list[int]:
        return [number for number, md5 in enumerate(index.md5s()) if md5 not in self._shown]

    def _holes(self, index: PackIndex) -> list[tuple[int, int]]:
        """Return first byte and end of what is not shown, sorted: digests, then objects."""
        hidden, proofs = self._hidden(index), HEAD + 16 * index.count
        objects = list(index) if hidden else []
        return [
            *[(HEAD + 16 * number, HEAD + 16 * number + 16) for number in hidden],
            *[(proofs + 32 * number, proofs + 32 * number + 32) for number in hidden],
            *[(row.start, row.start + row.size) for row in map(objects.__getitem__, hidden)],
        ]


def _blank(data: bytes, at: int, holes: list[tuple[int, int]]) -> bytes:
    """Return bytes that begin at a place, with zeros where the holes are."""
    first = max(bisect_right(holes, at, key=lambda hole: hole[0]) - 1, 0)
    blanked: bytearray | None = None
    for start, end in holes[first:]:
        if start >= at + len(data):
            break
        low, high = max(start - at, 0), min(end - at, len(data))
        if low < high:
            blanked = bytearray(data) if blanked is None else blanked
            blanked[low:high] = bytes(high - low)
    return data if blanked is None else bytes(blanked)
