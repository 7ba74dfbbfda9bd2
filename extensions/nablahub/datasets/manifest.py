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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import batched
from typing import Final, NamedTuple

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


class Stored(NamedTuple):
    """A page of a new manifest; ``data`` is None for one that is stored already."""

    page: Page
    data: bytes | None
    rows: Sequence[Entry]


def cut(rows: list[Entry]) -> tuple[list[list[Entry]], list[Entry]]:
    """Cut sorted entries, the first of which begins a page, into whole pages and the rest.

    A page ends after a path whose CRC-32 is a multiple of :data:`PAGE_FILES`, so about that many
    files lie in one; :data:`PAGE_LIMIT` is the most.
    """
    whole: list[list[Entry]] = []
    start = 0
    for end, row in enumerate(rows, 1):
        if zlib.crc32(row.path.encode()) % PAGE_FILES == 0 or end - start >= PAGE_LIMIT:
            whole.append(rows[start:end])
            start = end
    return whole, rows[start:]


def paginate(entries: Iterable[Entry]) -> Iterator[Stored]:
    """Cut sorted entries into pages (see :func:`cut`)."""
    rows: list[Entry] = []
    for group in batched(entries, PAGE_LIMIT):
        whole, rows = cut([*rows, *group])
        yield from map(make_page, whole)
    if rows:
        yield make_page(rows)


def make_page(rows: Sequence[Entry]) -> Stored:
    """Return the page of these entries."""
    data = encode(rows)
    digest = hashlib.sha256(data).hexdigest()
    return Stored(Page(digest, len(rows), sum([r.size for r in rows]), rows[0].path), data, rows)


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
        head, newline, rest = (self._rest + data).rpartition(b"\n")
        self._rest = rest
        if len(rest) > 1 << 16:
            raise self._fault("the line is longer than any that is allowed")
        if not newline:
            return
        try:
            text = (head + newline).decode()
        except UnicodeDecodeError as error:
            raise self._fault("the text is not valid UTF-8") from error
        yield from self._plain(text) or (self._entry(line + "\n") for line in text.split("\n")[:-1])

    def _plain(self, text: str) -> list[Entry]:
        """Return all entries when nothing of them needs a closer look, else none."""
        rows = _PLAIN_LINE.findall(text)
        if len(rows) != text.count("\n"):
            return []
        self._rules.add_plain([row[4] for row in rows])
        self._count += len(rows)
        return [Entry(path, kind, int(size), md5, sha) for md5, sha, kind, size, path in rows]

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
