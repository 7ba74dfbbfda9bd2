"""The members of a tar archive, read once from its beginning to its end.

Formats: https://www.gnu.org/software/tar/manual/html_node/Standard.html, and pax of POSIX.1-2001.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable
from typing import IO, Final, Protocol, Self, cast

from nablahub.core.archives.laying import BadArchive, Laying
from nablahub.core.errors import Unavailable

#: What lies between the contents of two members: their headers, and those that say long names.
_HEADERS: Final = 1 << 20
#: Zeros behind the end, up to the full block of a tape.
_PADDING: Final = 1 << 24
_MAGIC: Final = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zst"}


class Readable(Protocol):
    """What bytes come from."""

    def read(self, size: int, /) -> bytes:
        """Return up to so many bytes, none at the end."""
        ...


def compression(head: bytes) -> str | None:
    """Return how a file is compressed, by its first bytes; None when it is not."""
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


def lay_tar(source: Readable, laying: Laying) -> None:
    """Make the members of a tar archive, compressed or not.

    Raises
    ------
    BadArchive
        It is none, ends too early, or has a member that the rules forbid.
    """
    counted = _Counted(source)
    plain = _Plain(counted, laying)
    try:
        with tarfile.open(
            mode="r|", fileobj=cast("IO[bytes]", plain), tarinfo=_Entry, errors="surrogateescape"
        ) as archive:
            while (entry := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # it would keep them all
                plain.open_budget(None)
                _lay(archive, entry, laying)
                plain.open_budget(_HEADERS)
        plain.open_budget(_PADDING)
        while plain.read(1 << 16):
            pass
    except (tarfile.TarError, ValueError, OverflowError) as error:
        raise BadArchive(f"it is no whole tar archive ({error})") from error


def _lay(archive: tarfile.TarFile, entry: tarfile.TarInfo, laying: Laying) -> None:
    if entry.isdir():
        laying.folder(entry.name)
        return
    if entry.issym() or entry.islnk():
        raise BadArchive("it is a link", entry.name)
    if entry.issparse():
        raise BadArchive("it is a sparse file", entry.name)
    if not entry.isreg():
        raise BadArchive("it is a device, a pipe or something else that is no file", entry.name)
    content = archive.extractfile(entry)
    assert content is not None
    laying.file(entry.name, entry.size, content.read, executable=bool(entry.mode & 0o100))


class _Entry(tarfile.TarInfo):
    """A header; one that is damaged is an error, where Python's own takes it for the end."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.HeaderError as error:
            if isinstance(error, tarfile.EOFHeaderError):  # type: ignore[attr-defined]  # not typed
                raise
            raise tarfile.ReadError(str(error)) from error


class _Counted:
    """Counts what is read of the archive itself."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._begun = b""
        self.count = 0

    def peek(self, size: int) -> bytes:
        """Return the first bytes, which are read again afterwards."""
        while len(self._begun) < size and (data := self._source.read(size - len(self._begun))):
            self._begun += data
        return self._begun

    def read(self, size: int = -1, /) -> bytes:
        """Read the next bytes."""
        size = 1 << 16 if size < 0 else size
        if self._begun:
            data, self._begun = self._begun[:size], self._begun[size:]
        else:
            data = self._source.read(size)
        self.count += len(data)
        return data


class _Plain:
    """The archive's bytes as they were before they were compressed, never more than is allowed."""

    def __init__(self, source: _Counted, laying: Laying) -> None:
        self._source = source
        self._rules = laying.rules
        self._size = 0
        self._budget: int | None = _HEADERS
        kind = compression(source.peek(6))
        self._compressed = kind is not None
        self._read = _reader(kind, source)

    def open_budget(self, size: int | None) -> None:
        """Say how many bytes may be read from now on; None: as many as there are."""
        self._budget = size

    def read(self, size: int) -> bytes:
        """Read the next bytes."""
        try:
            data = self._read(size)
        except (EOFError, zlib.error, lzma.LZMAError, _zstd_error()) as error:
            raise BadArchive(f"it is damaged or cut off ({error})") from error
        except OSError as error:  # Of gzip and bz2, whose own errors have no number.
            if error.errno is not None or isinstance(error, ConnectionError):
                raise
            raise BadArchive(f"it is damaged or cut off ({error})") from error
        self._size += len(data)
        if self._compressed:
            self._rules.check_ratio(self._size, self._source.count)
        if self._budget is not None:
            self._budget -= len(data)
            if self._budget < 0:
                raise BadArchive("between two members lies more than a header")
        return data


def _reader(kind: str | None, source: _Counted) -> Callable[[int], bytes]:
    file = cast("IO[bytes]", source)
    if kind == "gz":
        return gzip.GzipFile(fileobj=file, mode="rb").read
    if kind == "bz2":
        return bz2.BZ2File(file).read
    if kind == "xz":
        return lzma.LZMAFile(file).read
    if kind == "zst":
        try:
            from backports import zstd
        except ImportError as error:
            raise Unavailable(
                "Archives of the kind tar.zst need a package that is not installed.",
                hint="Install it: pip install 'nablahub[files]'.",
            ) from error
        return zstd.ZstdFile(file).read
    return source.read


def _zstd_error() -> type[Exception]:
    try:
        from backports import zstd
    except ImportError:
        return EOFError
    return zstd.ZstdError
