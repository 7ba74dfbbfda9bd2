"""DVC's forms of what we store: its ``.dir`` object, a ``.dvc`` file, a remote's configuration.

The ``.dir`` object is what dvc-data's ``Tree.as_bytes`` writes (dvc_data/hashfile/tree.py): a JSON
list of ``{"md5", "relpath"}``, sorted by path, in ``json.dumps``'s default separators and ASCII
escapes; its name is the md5 of these bytes with ``.dir`` after it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from nablahub.core.objects import CHUNK
from nablahub.datasets.manifest import Entry, decode
from nablahub.datasets.memory import Memory

#: The header in which DVC sends the hub's token (``custom_auth_header``), as ``Bearer TOKEN``.
AUTH_HEADER = "Authorization"
_quoted = json.encoder.encode_basestring_ascii
# A line of a manifest whose path JSON writes as it is.
_PLAIN_ROW = re.compile(
    rb"^([0-9a-f]{32}) [0-9a-f]{64} [fx] [0-9]+ ([ !#-\[\]-~]+)\n", re.MULTILINE
)
_OID = re.compile(r"([0-9a-f]{2})/([0-9a-f]{30})(\.dir)?")


def _row(entry: Entry) -> str:
    """Return a row as json.dumps of the whole list would write it."""
    return f'{{"md5": "{entry.md5}", "relpath": {_quoted(entry.path)}}}'


def dir_chunks(entries: Iterable[Entry]) -> Iterator[bytes]:
    """Yield the bytes of a tree's ``.dir`` object; the entries must be sorted by path."""
    buffer: list[str] = ["["]
    size, separator = 1, ""
    for entry in entries:
        row = separator + _row(entry)
        separator = ", "
        buffer.append(row)
        size += len(row)
        if size >= CHUNK:
            yield "".join(buffer).encode()
            buffer, size = [], 0
    buffer.append("]")
    yield "".join(buffer).encode()


def rows_of(page: bytes) -> bytes:
    """Return the rows of a page of a manifest, from its bytes, as they stand in a ``.dir``."""
    rows, count = _PLAIN_ROW.subn(rb'{"md5": "\1", "relpath": "\2"}, ', page)
    if count != page.count(b"\n"):  # A path that JSON escapes.
        return ", ".join([_row(entry) for entry in decode(page)]).encode()
    return rows[:-2]


@dataclass(frozen=True)
class DirObject:
    """Name (md5, without ``.dir``) and size in bytes of a ``.dir`` object."""

    md5: str
    size: int


class DirHasher:
    """Derives a :class:`DirObject` from the pages of a manifest, in one pass."""

    def __init__(self) -> None:
        self._md5 = hashlib.md5(b"[", usedforsecurity=False)
        self._size = 1
        self._separator = ""

    def add(self, entries: Iterable[Entry]) -> None:
        """Take the next entries in order."""
        rows = ", ".join([_row(entry) for entry in entries])
        if rows:
            data = (self._separator + rows).encode()
            self._separator = ", "
            self._md5.update(data)
            self._size += len(data)

    def add_rows(self, rows: bytes) -> None:
        """Take the next rows as :func:`rows_of` made them."""
        if rows:
            data = self._separator.encode() + rows
            self._separator = ", "
            self._md5.update(data)
            self._size += len(data)

    def finish(self) -> DirObject:
        """Return the object's name and size."""
        self._md5.update(b"]")
        return DirObject(self._md5.hexdigest(), self._size + 1)


def parse_object(path: str) -> tuple[str, bool] | None:
    """Return md5 and whether it is a ``.dir``, from ``ab/cdef…[.dir]``; None for anything else."""
    match = _OID.fullmatch(path)
    return (match[1] + match[2], bool(match[3])) if match else None


def dvc_file(name: str, obj: DirObject, *, files: int, size: int, remote: str) -> str:
    """Return a ``.dvc`` file that stands for a version, as ``dvc add NAME`` would write it.

    Parameters
    ----------
    name : str
        Name of the tracked folder beside the file.
    obj : DirObject
        The version's ``.dir`` object.
    files, size : int
        Number of files and their bytes together.
    remote : str
        Name of the remote that has it.
    """
    return (
        "outs:\n"
        f"- md5: {obj.md5}.dir\n"
        f"  size: {size}\n"
        f"  nfiles: {files}\n"
        "  hash: md5\n"
        f"  remote: {remote}\n"
        f"  path: {json.dumps(name)}\n"
    )


def dvc_config(remote: str, url: str) -> str:
    """Return DVC's ``config`` for a remote of the hub; the token is never in it."""
    return (
        "[core]\n"
        f"    remote = {remote}\n"
        f"['remote \"{remote}\"']\n"
        f"    url = {url}\n"
        "    auth = custom\n"
        f"    custom_auth_header = {AUTH_HEADER}\n"
        "    method = PUT\n"
    )


class DirRows:
    """The ``.dir`` rows of pages lately used: versions that follow each other share most pages.

    Parameters
    ----------
    limit : int
        Most bytes that are kept.
    """

    def __init__(self, limit: int = 64 * 1024 * 1024) -> None:
        self._rows = Memory(limit)

    def get(self, digest: str, read: Callable[[], bytes]) -> bytes:
        """Return the rows of the page of a digest, which ``read`` reads when they are not here."""
        if (found := self._rows.get(digest)) is None:
            found = rows_of(read())
            self._rows.keep(digest, found)
        return found

    def __contains__(self, digest: str) -> bool:
        return self._rows.get(digest) is not None
