"""Measuring a folder: its size on the disk, and what in it is large."""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable
from pathlib import Path
from stat import S_ISDIR
from typing import Final

from nablahub.core.usage import FolderUsage

#: How many of the largest are told.
LARGEST: Final = 10
#: Folders below this depth count for those above them.
DEPTH: Final = 3
#: A folder is not told when one thing in it makes up so much of it: that is told.
SAME: Final = 0.9
_BATCH: Final = 512
_BLOCK: Final = 512  # Bytes of st_blocks, whatever the file system's own are (stat(2)).

Pause = Callable[[float], bool]


def measure(root: Path, quota: int, pause: Pause) -> FolderUsage | None:
    """Measure a folder.

    Parameters
    ----------
    root : pathlib.Path
        The folder; links in it are not followed, and what is mounted in it is left out.
    quota : int
        Bytes it may take; 0: any.
    pause : callable
        Is told how many seconds were worked, now and then, and may sleep; True ends it all.

    Returns
    -------
    FolderUsage or None
        None when it was ended.
    """
    return _Walk(root, quota, pause).run()


class _Walk:
    def __init__(self, root: Path, quota: int, pause: Pause) -> None:
        self._root, self._quota, self._pause = str(root), quota, pause
        self._bytes = self._files = 0
        self._seen: set[int] = set()
        self._folders: dict[str, int] = {}
        self._top: list[tuple[int, str]] = []

    def run(self) -> FolderUsage | None:
        try:
            device = os.stat(self._root).st_dev  # noqa: PTH116 (called beside those in the loop)
        except OSError:
            return FolderUsage(quota=self._quota, at=time.time())
        todo, since, count = [""], time.perf_counter(), 0
        while todo:
            below = todo.pop()
            for name, found in _entries(os.path.join(self._root, below)):  # noqa: PTH118
                path = f"{below}/{name}" if below else name
                if found.st_dev != device:
                    continue
                if S_ISDIR(found.st_mode):
                    todo.append(path)
                self._count(path, found)
                count += 1
                if count % _BATCH == 0:
                    if self._pause(time.perf_counter() - since):
                        return None
                    since = time.perf_counter()
        return FolderUsage(self._bytes, self._files, self._quota, time.time(), self._largest())

    def _count(self, path: str, found: os.stat_result) -> None:
        if found.st_nlink > 1 and not S_ISDIR(found.st_mode):
            if found.st_ino in self._seen:
                return
            self._seen.add(found.st_ino)
        size = found.st_blocks * _BLOCK
        self._bytes += size
        parts = path.split("/")
        inside = parts if S_ISDIR(found.st_mode) else parts[:-1]
        for depth in range(1, min(len(inside), DEPTH) + 1):
            folder = "/".join(parts[:depth])
            self._folders[folder] = self._folders.get(folder, 0) + size
        if not S_ISDIR(found.st_mode):
            self._files += 1
            if size:
                push = heapq.heappush if len(self._top) < LARGEST else heapq.heappushpop
                push(self._top, (size, path))

    def _largest(self) -> list[tuple[str, int]]:
        sizes = [(size, f"{path}/") for path, size in self._folders.items()] + self._top
        told: list[tuple[str, int]] = []
        for size, path in heapq.nlargest(LARGEST * DEPTH, sizes):
            parts = [s for s, p in sizes if p != path and path.endswith("/") and p.startswith(path)]
            if not parts or max(parts) < SAME * size:
                told.append((path, size))
        return told[:LARGEST]


def _entries(folder: str) -> list[tuple[str, os.stat_result]]:
    """Return what is in a folder; nothing when it is gone or closed."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    found.append((entry.name, entry.stat(follow_symlinks=False)))
                except OSError:
                    continue  # Gone meanwhile.
    except OSError:
        pass
    return found
