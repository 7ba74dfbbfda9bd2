"""The manifest: every file of a version, in pages that stand by themselves.

A page is text, one line a file, sorted by the bytes of the path::

    <md5> <sha256> <kind> <size> <path>\\n

where kind is ``f`` (a file) or ``x`` (an executable file). The text has no times, owners or
places in it, so that the same tree always has the same bytes and the same digest. A page ends
after a path whose own hash says so: adding or removing one file changes its page and no other.
The *root* lists the pages; its sha256 is the digest of the manifest.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple, Self

from nablahub.core.errors import Fault
from nablahub.datasets.errors import BadManifest
from nablahub.datasets.paths import PLAIN, TreeRules, show

PAGE_FILES: Final = 1024
PAGE_LIMIT: Final = 4 * PAGE_FILES
MAX_SIZE: Final = 2**53
KIND_FILE: Final = "f"
KIND_EXECUTABLE: Final = "x"

_LINE = re.compile(r"([0-9a-f]{32}) ([0-9a-f]{64}) ([fx]) (0|[1-9][0-9]{0,15}) ([^\n]+)\n")
# A whole line with a plain path: thousands are read by one call.
_PLAIN_LINE = re.compile(
    rf"^([0-9a-f]{{32}}) ([0-9a-f]{{64}}) ([fx]) (0|[1-9][0-9]{{0,14}}) ({PLAIN})$", re.MULTILINE
)


class Entry(NamedTuple):
    """One file of a version.

    Parameters
    ----------
    path : str
        Relative to the version's folder.
    kind : str
        ``f`` or ``x``.
    size : int
        In bytes.
    md5, sha256 : str
        Lower-case hexadecimal digests of the content.
    """

    path: str
    kind: str
    size: int
    md5: str
    sha256: str

    @property
    def digest(self) -> bytes:
        """md5 and sha256 (48 bytes)."""
        return bytes.fromhex(self.md5 + self.sha256)

    def line(self) -> str:
        """Return the entry as its line in a page."""
        return f"{self.md5} {self.sha256} {self.kind} {self.size} {self.path}\n"


@dataclass(frozen=True)
class Page:
    """What the root says of one page; ``files`` and ``size`` are counts of files and bytes."""

    digest: str
    files: int
    size: int
    first: str
    place: str = ""

    def line(self) -> str:
        """Return the page's line in the root, the same wherever the page is stored."""
        return f"{self.digest} {self.files} {self.size} {self.first}\n"


@dataclass(frozen=True)
class Root:
    """The list of a manifest's pages."""

    pages: tuple[Page, ...]

    @property
    def digest(self) -> str:
        """The sha256 of the whole manifest's canonical form."""
        return hashlib.sha256("".join(page.line() for page in self.pages).encode()).hexdigest()

    @property
    def files(self) -> int:
        """Number of files."""
        return sum(page.files for page in self.pages)

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(page.size for page in self.pages)

    def find(self, path: str) -> int:
        """Return the number of the only page that may hold a path, -1 when none may."""
        return bisect_right(self._keys, path.encode()) - 1

    @cached_property
    def _keys(self) -> list[bytes]:
        return [page.first.encode() for page in self.pages]


def order(entry: Entry) -> bytes:
    """Return the sort key of an entry."""
    return entry.path.encode()


def encode(entries: Iterable[Entry]) -> bytes:
    """Return the lines of entries, which must be sorted."""
    return "".join([e.line() for e in entries]).encode()


def decode(data: bytes) -> list[Entry]:
    """Return the entries of a page that was checked when it was stored."""
    rows = [line.split(" ", 4) for line in data.decode().split("\n")[:-1]]
    return [Entry(path, kind, int(size), md5, sha) for md5, sha, kind, size, path in rows]


@dataclass
class Rows:
    """Files in a manifest's order, as columns: so many of them are lines, not objects.

    Parameters
    ----------
    lines : list of str
        As in a page, without their ends.
    paths : list of str
    sizes : list of int
        In bytes.
    """

    lines: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Self:
        """Return the rows of entries."""
        given = list(entries)
        lines = [entry.line()[:-1] for entry in given]
        return cls(lines, [entry.path for entry in given], [entry.size for entry in given])

    @classmethod
    def of_page(cls, data: bytes) -> Self:
        """Return the rows of a page that was checked when it was stored."""
        lines = data.decode().split("\n")[:-1]
        parts = [line.split(" ", 4) for line in lines]
        return cls(lines, [part[4] for part in parts], [int(part[3]) for part in parts])

    def entries(self) -> list[Entry]:
        """Return them as entries."""
        rows = [line.split(" ", 4) for line in self.lines]
        return [Entry(path, kind, int(size), md5, sha) for md5, sha, kind, size, path in rows]

    def digests(self) -> list[bytes]:
        """Return md5 and sha256 (48 bytes) of each."""
        return [bytes.fromhex(line[:97]) for line in self.lines]

    def data(self) -> bytes:
        """Return the text of a page of them."""
        return "\n".join([*self.lines, ""]).encode()

    def part(self, start: int, end: int | None = None) -> Rows:
        """Return those from a number on, up to another."""
        cut = slice(start, end)
        return Rows(self.lines[cut], self.paths[cut], self.sizes[cut])

    def add(self, other: Rows) -> None:
        """Put others behind them."""
        self.lines += other.lines
        self.paths += other.paths
        self.sizes += other.sizes

    def __len__(self) -> int:
        return len(self.lines)


class Stored(NamedTuple):
    """A page of a new manifest; ``data`` is None for one that is stored already."""

    page: Page
    data: bytes | None


def cut(rows: Rows) -> tuple[list[Rows], Rows]:
    """Cut sorted rows, the first of which begins a page, into whole pages and the rest.

    A page ends after a path whose CRC-32 is a multiple of :data:`PAGE_FILES`, so about that many
    files lie in one; :data:`PAGE_LIMIT` is the most.
    """
    whole: list[Rows] = []
    start = 0
    crc32, every = zlib.crc32, PAGE_FILES
    ends = [end for end, path in enumerate(rows.paths, 1) if not crc32(path.encode()) % every]
    for end in [*ends, len(rows)]:
        while end - start >= PAGE_LIMIT:
            whole.append(rows.part(start, start + PAGE_LIMIT))
            start += PAGE_LIMIT
        if start < end and (end < len(rows) or (ends and ends[-1] == end)):
            whole.append(rows.part(start, end))
            start = end
    return whole, rows.part(start)


def paginate(groups: Iterable[Rows]) -> Iterator[Stored]:
    """Cut sorted rows, which come in groups, into pages (see :func:`cut`)."""
    left = Rows()
    for group in groups:
        left.add(group)
        whole, left = cut(left)
        yield from map(make_page, whole)
    if len(left):
        yield make_page(left)


def make_page(rows: Rows) -> Stored:
    """Return the page of these rows."""
    data = rows.data()
    digest = hashlib.sha256(data).hexdigest()
    return Stored(Page(digest, len(rows), sum(rows.sizes), rows.paths[0]), data)


class Parser:
    """Reads a manifest from a stranger, in pieces, and checks it line by line.

    Raises
    ------
    BadManifest, BadPath
        From :meth:`feed` and :meth:`close`, naming the line or the path.
    """

    def __init__(self) -> None:
        self._rules = TreeRules()
        self._rest = b""
        self._count = 0

    def feed(self, data: bytes) -> Iterator[Entry]:
        """Take the next bytes and yield the entries that they complete."""
        text = self._whole_lines(data)
        if rows := self._plain(text):
            yield from [
                Entry(path, kind, int(size), md5, sha) for md5, sha, kind, size, path in rows
            ]
        else:
            yield from [self._entry(f"{line}\n") for line in text.split("\n")[:-1]]

    def rows(self, data: bytes) -> Rows:
        """Take the next bytes and return the rows that they complete."""
        text = self._whole_lines(data)
        if rows := self._plain(text):
            return Rows(
                text.split("\n")[:-1], [row[4] for row in rows], [int(row[3]) for row in rows]
            )
        return Rows.of(self._entry(f"{line}\n") for line in text.split("\n")[:-1])

    def _whole_lines(self, data: bytes) -> str:
        head, newline, rest = (self._rest + data).rpartition(b"\n")
        self._rest = rest
        if len(rest) > 1 << 16:
            raise self._fault("the line is longer than any that is allowed")
        try:
            return (head + newline).decode()
        except UnicodeDecodeError as error:
            raise self._fault("the text is not valid UTF-8") from error

    def _plain(self, text: str) -> list[tuple[str, str, str, str, str]]:
        """Return the parts of all lines when none needs a closer look, else nothing."""
        rows: list[tuple[str, str, str, str, str]] = _PLAIN_LINE.findall(text)
        if len(rows) != text.count("\n"):
            return []
        self._rules.add_plain([row[4] for row in rows])
        self._count += len(rows)
        return rows

    def close(self) -> None:
        """Say that the text ends here."""
        if self._rest:
            raise self._fault("the last line does not end with a newline")

    def _entry(self, line: str) -> Entry:
        self._count += 1
        match = _LINE.fullmatch(line)
        if match is None or int(match[4]) > MAX_SIZE:
            self._count -= 1
            raise self._fault(
                f"'{show(line[:200].rstrip())}' is not '<md5> <sha256> f|x <size> <path>'"
            )
        self._rules.add(match[5])
        return Entry(match[5], match[3], int(match[4]), match[1], match[2])

    def _fault(self, problem: str) -> BadManifest:
        line = self._count + 1
        return BadManifest(
            f"The manifest can't be read: line {line}: {problem}.",
            hint="Send the lines of all files, sorted by the bytes of their paths.",
            errors=[Fault(problem, line=line, column=1)],
        )
