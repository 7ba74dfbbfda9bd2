"""Which bytes of which packs a download needs, in as few requests as make sense."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from nablahub.datasets.manifest import Entry
from nablahub.datasets.packs import HEAD, PACK_BYTES, ROW, PackIndex, read_count

#: Bytes in the name of a pack, which stands before its table in what lists the tables.
NAME: Final = 64
#: Unwanted bytes that are taken along so that two ranges are one request.
GAP: Final = 128 * 1024
#: Most files of one request: an object store's signed places are asked for by their hashes.
MOST: Final = 16_384


class Job(NamedTuple):
    """A range of a pack and the files in it, each with its place in the range (bytes)."""

    pack: str
    start: int
    size: int
    files: list[tuple[Entry, int]]


def read_tables(chunks: Iterable[bytes]) -> Iterator[tuple[str, PackIndex]]:
    """Yield name and table of each pack from a stream of both; BadObject when damaged."""
    pending = b""
    for data in chunks:
        pending += data
        while len(pending) >= NAME + HEAD:
            count = read_count(pending[NAME : NAME + HEAD])
            end = NAME + HEAD + ROW * count
            if len(pending) < end:
                break
            yield pending[:NAME].decode(), PackIndex(count, pending[NAME + HEAD : end])
            pending = pending[end:]


def plan(
    entries: Iterable[Entry], tables: Iterable[tuple[str, PackIndex]]
) -> tuple[list[Job], list[Entry]]:
    """Return the requests that get all files, and the files that are in no pack."""
    wanted: dict[bytes, list[Entry]] = {}
    for entry in entries:
        wanted.setdefault(bytes.fromhex(entry.md5), []).append(entry)
    jobs: list[Job] = []
    for pack, index in tables:
        found = [(i, wanted.pop(md5)) for i, md5 in enumerate(index.md5s()) if md5 in wanted]
        if found:
            jobs += _ranges(pack, index, found)
    return jobs, [entry for left in wanted.values() for entry in left]


def _ranges(pack: str, index: PackIndex, found: list[tuple[int, list[Entry]]]) -> Iterator[Job]:
    ends, head = index.ends(), index.head
    files: list[tuple[Entry, int]] = []
    first = last = -1
    for number, entries in found:
        start = head + (ends[number - 1] if number else 0)
        end = head + ends[number]
        apart = start - last > GAP or end - first > 2 * PACK_BYTES
        if files and (apart or len(files) >= MOST):
            yield Job(pack, first, last - first, files)
            files = []
        if not files:
            first = start
        last = end
        files += [(entry, start - first) for entry in entries]
    yield Job(pack, first, last - first, files)
