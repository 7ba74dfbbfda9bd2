"""Packs: many small objects in one, so that 20,000 files are a few requests and not 20,000.

Layout (numbers are little-endian)::

    8   magic "NABLPK1\\n"
    8   count n
    16n md5 of each object
    32n sha256 of each object
    8n  end of each object, counted from the first byte after this table
    …   the objects, in that order

The table comes first, so a reader of a stream knows what comes, and a reader of one object needs
the table and one range. A pack is named by the sha256 of all its bytes and belongs to one dataset.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from nablahub.datasets.errors import BadObject

MAGIC: Final = b"NABLPK1\n"
HEAD: Final = 16
ROW: Final = 56
#: Objects up to this size in bytes lie in packs, larger ones as files.
SMALL: Final = 1024 * 1024
#: A pack is closed before its objects would exceed this.
PACK_BYTES: Final = 16 * 1024 * 1024
PACK_LIMIT: Final = PACK_BYTES + SMALL
PACK_COUNT: Final = 65_536


class Packed(NamedTuple):
    """One object in a pack; ``start`` counts from the pack's first byte."""

    md5: bytes
    sha256: bytes
    start: int
    size: int


@dataclass(frozen=True)
class PackIndex:
    """The table of a pack."""

    count: int
    table: bytes

    @property
    def head(self) -> int:
        """Bytes before the first object."""
        return HEAD + ROW * self.count

    def md5s(self) -> list[bytes]:
        """Return all md5s, in order."""
        return [self.table[i : i + 16] for i in range(0, 16 * self.count, 16)]

    def at(self, number: int) -> Packed:
        """Return one object by its number."""
        n, table = self.count, self.table
        sha256 = table[16 * n + 32 * number : 16 * n + 32 * number + 32]
        ends = 48 * n + 8 * number
        end: int = struct.unpack_from("<Q", table, ends)[0]
        start: int = struct.unpack_from("<Q", table, ends - 8)[0] if number else 0
        return Packed(table[16 * number : 16 * number + 16], sha256, self.head + start, end - start)

    def find(self, md5: bytes) -> Packed | None:
        """Return the object with that md5, None when it is not in this pack."""
        place = self.table.find(md5, 0, 16 * self.count)
        while place >= 0 and place % 16:  # A match across two neighbours is none.
            place = self.table.find(md5, place + 1, 16 * self.count)
        return self.at(place // 16) if place >= 0 else None

    def __iter__(self) -> Iterator[Packed]:
        n, table = self.count, self.table
        ends = struct.unpack_from(f"<{n}Q", table, 48 * n)
        start = 0
        for number, end in enumerate(ends):
            sha256 = table[16 * n + 32 * number : 16 * n + 32 * number + 32]
            md5 = table[16 * number : 16 * number + 16]
            yield Packed(md5, sha256, self.head + start, end - start)
            start = end


def build_head(objects: Sequence[tuple[bytes, bytes, int]]) -> bytes:
    """Return a pack's bytes before its objects, from their (md5, sha256, size)."""
    ends: list[int] = []
    end = 0
    for _, _, size in objects:
        end += size
        ends.append(end)
    return b"".join(
        [
            MAGIC,
            struct.pack("<Q", len(objects)),
            *(md5 for md5, _, _ in objects),
            *(sha256 for _, sha256, _ in objects),
            struct.pack(f"<{len(ends)}Q", *ends),
        ]
    )


def read_count(head: bytes) -> int:
    """Return the number of objects from a pack's first :data:`HEAD` bytes; BadObject if none."""
    count: int = struct.unpack("<Q", head[8:])[0] if len(head) == HEAD else 0
    if head[:8] != MAGIC or not 0 < count <= PACK_COUNT:
        raise BadObject("These bytes are not a pack of objects.", hint="Send a pack again.")
    return count


class PackChecker:
    """Takes a pack in pieces and proves every object in it; keeps no more than one piece.

    Raises
    ------
    BadObject
        From :meth:`feed` or :meth:`finish`, when a digest, a size or the layout is wrong.
    """

    def __init__(self, digest: str | None = None) -> None:
        self._whole = hashlib.sha256()
        self._digest = digest
        self._pending = bytearray()
        self._index: PackIndex | None = None
        self._count = 0
        self._objects: Iterator[Packed] = iter(())
        self._object: Packed | None = None
        self._left = 0

    @property
    def index(self) -> PackIndex | None:
        """The pack's table, once it has been read."""
        return self._index

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._whole.update(data)
        if self._index is not None:
            self._bodies(memoryview(data))
            return
        self._pending += data
        if not self._count and len(self._pending) >= HEAD:
            self._count = read_count(bytes(self._pending[:HEAD]))
        head = HEAD + ROW * self._count
        if self._count and len(self._pending) >= head:
            self._index = PackIndex(self._count, bytes(self._pending[HEAD:head]))
            self._objects = iter(self._index)
            self._next()
            rest = bytes(self._pending[head:])
            self._pending.clear()
            self._bodies(memoryview(rest))

    def _next(self) -> None:
        """Go on to the next object, past empty ones."""
        while True:
            self._object = next(self._objects, None)
            if self._object is None:
                return
            if not 0 <= self._object.size <= SMALL:
                raise self._bad("has a size that no packed object may have")
            self._md5 = hashlib.md5(usedforsecurity=False)
            self._sha256 = hashlib.sha256()
            self._left = self._object.size
            if self._left:
                return
            self._prove()

    def _bodies(self, data: memoryview) -> None:
        while len(data):
            if self._object is None:
                raise BadObject("Bytes follow the last object of the pack.", hint="Send it again.")
            piece = data[: self._left]
            self._md5.update(piece)
            self._sha256.update(piece)
            self._left -= len(piece)
            data = data[len(piece) :]
            if not self._left:
                self._prove()
                self._next()

    def _prove(self) -> None:
        known = self._object
        if known is None:
            return
        if self._sha256.digest() != known.sha256 or self._md5.digest() != known.md5:
            raise self._bad("does not have the bytes that its digests promise")

    def _bad(self, problem: str) -> BadObject:
        name = self._object.md5.hex() if self._object else "?"
        return BadObject(
            f"The object {name} {problem}: it was damaged on the way or changed while it was read.",
            hint="Send it again.",
        )

    def finish(self) -> PackIndex:
        """Say that the pack ends here and return its table."""
        if self._index is None or self._object is not None:
            raise BadObject("The pack ends too early.", hint="Send it again.")
        if self._digest is not None and self._whole.hexdigest() != self._digest:
            raise BadObject("The pack is not the one its name says.", hint="Send it again.")
        return self._index


class PackBuilder:
    """Collects small objects until a pack is full."""

    def __init__(self) -> None:
        self._rows: list[tuple[bytes, bytes, int]] = []
        self._data: list[bytes] = []
        self._known: set[bytes] = set()
        self.size = 0

    def fits(self, size: int) -> bool:
        """Tell whether an object of that many bytes still belongs into this pack."""
        return not self._rows or (self.size + size <= PACK_BYTES and len(self._rows) < PACK_COUNT)

    def add(self, md5: bytes, sha256: bytes, data: bytes) -> None:
        """Add an object; the same one again adds nothing."""
        if md5 in self._known:
            return
        self._known.add(md5)
        self._rows.append((md5, sha256, len(data)))
        self._data.append(data)
        self.size += len(data)

    def keep(self, wanted: Iterable[bytes]) -> None:
        """Forget the objects whose md5 is not wanted."""
        keep = set(wanted)
        pairs = [(r, d) for r, d in zip(self._rows, self._data, strict=True) if r[0] in keep]
        self._rows = [row for row, _ in pairs]
        self._data = [data for _, data in pairs]
        self._known = {row[0] for row in self._rows}
        self.size = sum(row[2] for row in self._rows)

    @property
    def rows(self) -> list[tuple[bytes, bytes, int]]:
        """The (md5, sha256, size) of what was added."""
        return self._rows

    def parts(self) -> list[bytes]:
        """Return the pack's bytes in pieces, the table first."""
        return [build_head(self._rows), *self._data]

    def __len__(self) -> int:
        return len(self._rows)
