"""Waking when a file grows, by inotify(7): no polling, no dependency."""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from pathlib import Path
from types import TracebackType

_IN_MODIFY = 0x2
_IN_CREATE = 0x100
_libc = ctypes.CDLL(None, use_errno=True)


class Watch:
    """Tells when a file of a folder is made or written; use as a context manager on the event loop.

    Parameters
    ----------
    folder
        An existing folder.
    name
        The file in it that is watched; it may be made later.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.done = False
        self._name = name.encode()
        self._fd: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1 failed")
        mask = _IN_MODIFY | _IN_CREATE
        if _libc.inotify_add_watch(self._fd, os.fsencode(folder), mask) < 0:
            number = ctypes.get_errno()
            os.close(self._fd)
            raise OSError(number, os.strerror(number), str(folder))
        self._changed = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._fd, self._read)

    def finish(self) -> None:
        """Wake the one that waits: the file will not change any more."""
        self.done = True
        self._changed.set()

    async def changed(self) -> None:
        """Return when something changed since the last time."""
        await self._changed.wait()
        self._changed.clear()

    def _read(self) -> None:
        try:
            while events := os.read(self._fd, 65536):
                if self._name in _names(events):
                    self._changed.set()
        except BlockingIOError:
            return

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)


def _names(events: bytes) -> set[bytes]:
    """The names in a buffer of struct inotify_event: wd, mask, cookie, length, name."""
    found: set[bytes] = set()
    at = 0
    while at < len(events):
        (length,) = struct.unpack_from("I", events, at + 12)
        found.add(events[at + 16 : at + 16 + length].rstrip(b"\0"))
        at += 16 + length
    return found
