"""A folder that somebody's code may change just now, read without following any link out of it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Self

from nablahub.storage.mounting.errors import MountFailed

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Inside:
    """The files below a folder. Each is opened from the folder down, one name after another.

    A path that is looked up twice may lead elsewhere the second time: its owner's code could make
    us send a file of the hub to a bucket, by a link in the right moment.

    Parameters
    ----------
    root : pathlib.Path
        The folder; what it lies in is not the other's to change, except for its last name.
    number : int
        The folder's inode, when it could have been changed for another one; 0: it could not.

    Raises
    ------
    MountFailed
        It is not that folder any more.
    """

    def __init__(self, root: Path, number: int = 0) -> None:
        try:
            self._root = os.open(root, _FOLDER)
        except OSError as error:
            raise MountFailed(
                f"Its folder cannot be opened any more: {error.strerror}.", hint=_MOVED
            ) from error
        if number not in (0, os.fstat(self._root).st_ino):
            os.close(self._root)
            raise MountFailed("Another folder lies in its place.", hint=_MOVED)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._root)

    def files(self, odd: list[str], *, strict: bool = True) -> Iterator[tuple[str, os.stat_result]]:
        """Yield the path and status of each file; what else there is goes to ``odd``.

        Parameters
        ----------
        strict : bool
            Whether a folder that cannot be read is an error: its files would pass for deleted ones.
        """
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            try:
                found = self._entries(folder)
            except OSError as error:
                # What was moved or deleted just now is seen where it is at the next look.
                if strict and not (folder and error.errno in _GONE):
                    raise
                continue
            for name, status in found:
                path = f"{folder}/{name}" if folder else name
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(path)
                elif stat.S_ISREG(status.st_mode) and _has_utf8(path):
                    yield path, status
                else:
                    odd.append(path)

    def _entries(self, folder: str) -> list[tuple[str, os.stat_result]]:
        handle = self._open(folder)
        try:
            found = []
            for name in os.listdir(handle):  # noqa: PTH208 (of a descriptor)
                with contextlib.suppress(FileNotFoundError):
                    found.append((name, os.stat(name, dir_fd=handle, follow_symlinks=False)))
        finally:
            os.close(handle)
        return found

    def open(self, path: str) -> BinaryIO:
        """Open a file to be read; OSError when it is none."""
        folder, _, name = path.rpartition("/")
        parent = self._open(folder)
        try:
            handle = os.open(name, _FILE, dir_fd=parent)
        finally:
            os.close(parent)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError(errno.EINVAL, "It is no file any more")
        return os.fdopen(handle, "rb")

    def _open(self, folder: str) -> int:
        handle = os.dup(self._root)
        for name in folder.split("/") if folder else ():
            above = handle
            try:
                handle = _enter(name, above)
            finally:
                os.close(above)
        return handle


def _enter(name: str, above: int) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=above)
    except PermissionError:  # Its user may have closed it even to itself.
        handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
        try:
            os.chmod(f"/proc/self/fd/{handle}", 0o700)  # noqa: PTH101 (chmod of a descriptor)
        finally:
            os.close(handle)
        return os.open(name, _FOLDER, dir_fd=above)


def _has_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


_MOVED: Final = "Nothing of it was written to the bucket: put the folder back where it was."
