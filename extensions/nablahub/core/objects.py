"""A store of immutable objects under slash-separated keys, and the one that is a directory.

Whoever writes an object never lets a half one be seen: a directory gets it under a temporary name,
synced to the disk and renamed; an S3 (:mod:`nablahub.core.s3`) puts whole objects by its nature.
"""

from __future__ import annotations

import ctypes
import errno
import math
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from nablahub.core.errors import StorageFull
from nablahub.core.quantities import human

CHUNK = 1024 * 1024
#: Bytes of one request that reads of an S3, or of one part that is written to it.
PART = 8 * CHUNK
#: Folder of a directory store for what is being written, or was when a process died.
WRITING = ".writing"


@contextmanager
def full_storage(path: Path | str = "") -> Iterator[None]:
    """Turn the system's error for a full disk or quota into :class:`StorageFull`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(
                f"The disk that holds {path or 'the data'} is full; nothing was stored.",
                hint="Delete data that is no longer needed or give the disk more space, "
                "then try again.",
            ) from error
        raise


def check_room(folder: Path, size: int, reserve: int) -> None:
    """Raise StorageFull when the disk has no room for ``size`` bytes above the reserve."""
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < size + reserve:
        raise StorageFull(
            f"The disk of the hub has {human(max(free - reserve, 0))} left for data, and "
            f"{human(size)} are to be stored. Nothing of it was stored.",
            hint="Delete data that is no longer needed or ask an administrator for more space.",
        )


class ObjectWriter(Protocol):
    """An object being written; leaving the ``with`` block by an error forgets it."""

    def write(self, data: bytes | memoryview, /) -> int:
        """Add bytes."""
        ...

    def local(self) -> Path | None:
        """Return the file that has what was written so far, where it is on this machine."""
        ...

    def commit(self) -> None:
        """Make the object visible, whole and lasting."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class ObjectStore(Protocol):
    """Immutable objects by key. Keys are relative, with ``/``, and never come from a user."""

    def create(self, key: str) -> ObjectWriter:
        """Begin an object; nothing is visible before its ``commit``."""
        ...

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Return bytes of an object; FileNotFoundError when it is not there."""
        ...

    def tail(self, key: str, length: int) -> tuple[bytes, int]:
        """Return an object's last bytes and the size of all of it, as :meth:`read`."""
        ...

    def chunks(self, key: str, start: int, length: int) -> Iterator[bytes]:
        """Yield bytes of an object in pieces of at most :data:`CHUNK`."""
        ...

    def size(self, key: str) -> int | None:
        """Return the object's size in bytes, None when it is not there."""
        ...

    def stamp(self, key: str) -> str | None:
        """Return what is another text once the object is stored anew, None when it is not there.

        It names the store as well: no two objects of one key have the same.
        """
        ...

    def remove(self, key: str) -> None:
        """Delete an object; one that is not there is no error."""
        ...

    def remove_all(self, keys: Sequence[str]) -> None:
        """Delete objects, in as few requests as it takes."""
        ...

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys in a folder and below it, in no order."""
        ...

    def local(self, key: str) -> Path | None:
        """Return the object's file where the store is a directory of this machine."""
        ...

    def adopt(self, file: Path, key: str) -> None:
        """Make a finished file of this machine an object; the file is gone afterwards."""
        ...


class _FileWriter:
    """Writes under another name, syncs, renames, syncs the folder."""

    def __init__(self, root: Path, path: Path) -> None:
        self._path = path
        self._temporary = root / WRITING / secrets.token_hex(12)
        self._temporary.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self._file = open(os.open(self._temporary, flags, 0o444), "wb", CHUNK)  # noqa: SIM115, PTH123

    def write(self, data: bytes | memoryview, /) -> int:
        with full_storage(self._path.parent):
            return self._file.write(data)

    def local(self) -> Path | None:
        with full_storage(self._path.parent):
            self._file.flush()
        return self._temporary

    def commit(self) -> None:
        with full_storage(self._path.parent):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._temporary.replace(self._path)
            sync_folder(self._path.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError):  # Closing flushes, which fails again on a full disk.
            self._file.close()
        self._temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_files(folder: Path) -> None:
    """Make all that was written to a folder's file system last through a power cut, at once.

    One ``syncfs`` (syncfs(2)) in place of an ``fsync`` for each of perhaps a million files.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "syncfs"):  # Not Linux.
        os.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if libc.syncfs(descriptor):
            error = ctypes.get_errno()
            with full_storage(folder):
                raise OSError(error, os.strerror(error), str(folder))
    finally:
        os.close(descriptor)


class DirectoryStore:
    """Objects as read-only files below a folder.

    Parameters
    ----------
    root : pathlib.Path
        The folder; made when the first object is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def _path(self, key: str) -> Path:
        return self.root / key

    def create(self, key: str) -> ObjectWriter:
        """Begin an object; StorageFull when the disk is full."""
        with full_storage(self.root):
            return _FileWriter(self.root, self._path(key))

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Return bytes of an object."""
        with self._path(key).open("rb") as file:
            file.seek(start)
            return file.read(-1 if length is None else length)

    def tail(self, key: str, length: int) -> tuple[bytes, int]:
        """Return an object's last bytes and the size of all of it."""
        size = self._path(key).stat().st_size
        start = max(size - length, 0)
        return self.read(key, start, size - start), size

    def chunks(self, key: str, start: int, length: int) -> Iterator[bytes]:
        """Yield bytes of an object in pieces."""
        with self._path(key).open("rb") as file:
            file.seek(start)
            while length > 0 and (data := file.read(min(CHUNK, length))):
                length -= len(data)
                yield data

    def size(self, key: str) -> int | None:
        """Return the object's size in bytes, None when it is not there."""
        try:
            return self._path(key).stat().st_size
        except FileNotFoundError:
            return None

    def stamp(self, key: str) -> str | None:
        """Return the file's number and time, None when it is not there."""
        try:
            found = self._path(key).stat()
        except FileNotFoundError:
            return None
        return f"{found.st_dev}:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}"

    def remove(self, key: str) -> None:
        """Delete an object."""
        self._path(key).unlink(missing_ok=True)

    def remove_all(self, keys: Sequence[str]) -> None:
        """Delete objects."""
        for key in keys:
            self.remove(key)

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys below a folder."""
        for folder, _, names in os.walk(self._path(prefix)):
            base = Path(folder).relative_to(self.root)
            yield from (str(base / name) for name in names)

    def sweep(self, before: float = math.inf) -> None:
        """Delete what processes left half-written when they died.

        Parameters
        ----------
        before : float
            Seconds since 1970 before which its last byte came; by default all of it goes, and
            nobody else may be writing.
        """
        for file in (self.root / WRITING).glob("*"):
            with suppress(FileNotFoundError):  # It is finished just now.
                if file.stat().st_mtime < before:
                    file.unlink()

    def local(self, key: str) -> Path:
        """Return the object's file."""
        return self._path(key)

    def adopt(self, file: Path, key: str) -> None:
        """Make a finished file on the same file system an object."""
        target = self._path(key)
        with full_storage(self.root):
            target.parent.mkdir(parents=True, exist_ok=True)
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
            file.chmod(0o444)
            file.replace(target)
            sync_folder(target.parent)
