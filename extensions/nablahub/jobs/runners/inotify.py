"""Waking when a file grows, by inotify(7): no polling, no dependency."""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_IN_MODIFY = 0x2
_IN_CREATE = 0x100
_IN_Q_OVERFLOW = 0x4000
_libc = ctypes.CDLL(None, use_errno=True)


class Watch:
    """Wakes one that waits for changes of one file."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.done = False
        self._changed = asyncio.Event()

    def finish(self) -> None:
        """Wake the one that waits: the file will not change any more."""
        self.done = True
        self._changed.set()

    def wake(self) -> None:
        """Wake the one that waits."""
        self._changed.set()

    async def changed(self) -> None:
        """Return when something changed since the last time."""
        await self._changed.wait()
        self._changed.clear()


class Inotify:
    """Tells when files of folders are made or written; used on the event loop only.

    All share one kernel instance: a user may have 128 of them by default, and closing one waits
    for the kernel for ten milliseconds and more, which removing a watch does not.
    """

    def __init__(self) -> None:
        self._fd: int | None = None
        self._watches: dict[int, set[Watch]] = {}

    @contextmanager
    def watch(self, folder: Path, name: str) -> Iterator[Watch]:
        """Watch a file of an existing folder; it may be made later."""
        watch = Watch(name.encode())
        number = self._add(folder)
        # A folder that is watched already has the same number.
        self._watches.setdefault(number, set()).add(watch)
        try:
            yield watch
        finally:
            rest = self._watches[number]
            rest.discard(watch)
            if not rest:
                del self._watches[number]
                if self._fd is not None:  # It fails when the folder is gone, and the watch with it.
                    _libc.inotify_rm_watch(self._fd, number)

    def close(self) -> None:
        """Watch nothing any more."""
        if self._fd is not None:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = None

    def _add(self, folder: Path) -> int:
        if self._fd is None:
            fd: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
            if fd < 0:
                raise OSError(ctypes.get_errno(), "inotify_init1 failed")
            asyncio.get_running_loop().add_reader(fd, self._read, fd)
            self._fd = fd
        mask = _IN_MODIFY | _IN_CREATE
        number: int = _libc.inotify_add_watch(self._fd, os.fsencode(folder), mask)
        if number < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), str(folder))
        return number

    def _read(self, fd: int) -> None:
        try:
            while events := os.read(fd, 65536):
                for number, mask, name in _parse(events):
                    missed = bool(mask & _IN_Q_OVERFLOW)
                    for watches in self._watches.values() if missed else [self._of(number)]:
                        for watch in watches:
                            if missed or watch.name == name:
                                watch.wake()
        except BlockingIOError:
            return

    def _of(self, number: int) -> set[Watch]:
        return self._watches.get(number, set())


def _parse(events: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield number, mask and name of each struct inotify_event: wd, mask, cookie, len, name."""
    at = 0
    while at < len(events):
        number, mask, _, length = struct.unpack_from("iIII", events, at)
        yield number, mask, events[at + 16 : at + 16 + length].rstrip(b"\0")
        at += 16 + length
