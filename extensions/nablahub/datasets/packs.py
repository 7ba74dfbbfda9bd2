"""Packs: many small objects in one, so that 20,000 files are a few requests and not 20,000.

Layout (numbers are little-endian)::

    8   magic "NABLPK1\\n"
    8   count n
    16n md5 of each object
    32n sha256 of each object
    8n  end of each object, counted from the first byte after this table
    …   the objects, in that order

The table comes first, so a reader of a stream knows what comes, and a reader of one object needs
the table and one range. A pack belongs to one dataset and is named by the sha256 of what comes
before its objects: that holds the sha256 and the size of each, so the name stands for every byte.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import add, sub
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

    def head_bytes(self) -> bytes:
        """Return the pack's bytes before its objects."""
        return MAGIC + struct.pack("<Q", self.count) + self.table

    def md5s(self) -> list[bytes]:
        """Return all md5s, in order."""
        return [self.table[i : i + 16] for i in range(0, 16 * self.count, 16)]

    def digests(self) -> list[bytes]:
        """Return md5 and sha256 (48 bytes) of each object, in order."""
        n, table = self.count, self.table
        shas = [table[i : i + 32] for i in range(16 * n, 48 * n, 32)]
        return list(map(add, self.md5s(), shas))

    def sizes(self) -> list[int]:
        """Return the bytes of each object, in order."""
        ends = self.ends()
        return list(map(sub, ends, (0, *ends)))

    def ends(self) -> tuple[int, ...]:
        """Return where each object ends, counted from the first byte after the table."""
        return struct.unpack_from(f"<{self.count}Q", self.table, 48 * self.count)

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
        start = 0
        for number, end in enumerate(self.ends()):
            sha256 = table[16 * n + 32 * number : 16 * n + 32 * number + 32]
            md5 = table[16 * number : 16 * number + 16]
            yield Packed(md5, sha256, self.head + start, end - start)
            start = end


def build_head(objects: Sequence[tuple[bytes, bytes, int]]) -> bytes:
    """Return a pack's bytes before its objects, from their (md5, sha256, size)."""
    ends = list(accumulate([size for _, _, size in objects]))
    return b"".join(
        [
            MAGIC,
            struct.pack("<Q", len(objects)),
            *[md5 for md5, _, _ in objects],
            *[sha256 for _, sha256, _ in objects],
            struct.pack(f"<{len(ends)}Q", *ends),
        ]
    )


def pack_name(head: bytes) -> str:
    """Return the name of the pack that begins with these bytes."""
    return hashlib.sha256(head).hexdigest()


def read_count(head: bytes) -> int:
    """Return the number of objects from a pack's first :data:`HEAD` bytes; BadObject if none."""
    count: int = struct.unpack("<Q", head[8:])[0] if len(head) == HEAD else 0
    if head[:8] != MAGIC or not 0 < count <= PACK_COUNT:
        raise BadObject("These bytes are not a pack of objects.", hint="Send a pack again.")
    return count


class PackChecker:
    """Takes a pack in pieces and proves every object in it; keeps no more than one object's bytes.

    Raises
    ------
    BadObject
        From :meth:`feed` or :meth:`finish`, when a digest, a size or the layout is wrong.
    """

    def __init__(self, digest: str | None = None) -> None:
        self._digest = digest
        self._pending = b""
        self._index: PackIndex | None = None
        self._ends: tuple[int, ...] = ()
        self._number = 0
        self._place = 0

    @property
    def index(self) -> PackIndex | None:
        """The pack's table, once it has been read."""
        return self._index

    def feed(self, data: bytes | memoryview) -> None:
        """Take the next bytes."""
        if self._pending:
            data = self._pending + bytes(data)
            self._pending = b""
        view = memoryview(data)
        if self._index is not None:
            self._bodies(view)
        elif rest := self._head(view):
            self._bodies(rest)

    def _head(self, data: memoryview) -> memoryview | None:
        """Read the table when all of it is there; return what follows it."""
        if len(data) >= HEAD:
            count = read_count(bytes(data[:HEAD]))
            head = HEAD + ROW * count
            if len(data) >= head:
                self._begin(PackIndex(count, bytes(data[HEAD:head])), data[:head])
                return data[head:]
        self._pending = bytes(data)
        return None

    def _begin(self, index: PackIndex, head: memoryview) -> None:
        if self._digest is not None and hashlib.sha256(head).hexdigest() != self._digest:
            raise BadObject("The pack is not the one its name says.", hint="Send it again.")
        self._index = index
        self._ends = index.ends()
        start = 0
        for number, end in enumerate(self._ends):
            if not 0 <= end - start <= SMALL:
                raise self._bad(number, "has a size that no packed object may have")
            start = end

    def _bodies(self, view: memoryview) -> None:
        """Prove the objects that are whole; every byte of small files goes this way."""
        if self._index is None:
            return
        table, count, ends = self._index.table, self._index.count, self._ends
        number, begin = self._number, self._place
        start, md5, sha256 = 0, hashlib.md5, hashlib.sha256
        while number < count and (end := ends[number] - begin) <= len(view):
            piece = view[start:end]
            name, proof = 16 * number, 16 * count + 32 * number
            if (
                sha256(piece).digest() != table[proof : proof + 32]
                or md5(piece, usedforsecurity=False).digest() != table[name : name + 16]
            ):
                raise self._bad(number, "does not have the bytes that its digests promise")
            start = end
            number += 1
        self._number, self._place = number, begin + start
        self._pending = bytes(view[start:])
        if number == count and self._pending:
            raise BadObject("Bytes follow the last object of the pack.", hint="Send it again.")

    def _bad(self, number: int, problem: str) -> BadObject:
        name = self._index.at(number).md5.hex() if self._index else "?"
        return BadObject(
            f"The object {name} {problem}: it was damaged on the way or changed while it was read.",
            hint="Send it again.",
        )

    def finish(self) -> PackIndex:
        """Say that the pack ends here and return its table."""
        if self._index is not None and not self._number:
            self._bodies(memoryview(b""))  # A pack of nothing but empty objects.
        if self._index is None or self._number < self._index.count:
            raise BadObject("The pack ends too early.", hint="Send it again.")
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
