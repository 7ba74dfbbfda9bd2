"""What lies in the cache of materialised trees, how large it is, and when it was used last.

Beside the teams' folders, where no reader sees it, each tree has a record in ``.ledger/<team>``: it
holds the tree's size, and the time of its last change is that of the last use. A tree without a
record (its maker died just then) is measured when somebody asks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from nablahub.datasets.cache import put_away, remove_tree

LEDGER: Final = ".ledger"


class Tree(NamedTuple):
    """A materialised tree.

    Parameters
    ----------
    place : str
        ``<team>/<name>``.
    path : pathlib.Path
        Where it lies.
    size : int
        Bytes it takes on the disk, without what it shares with the store.
    used_at : float
        Seconds since 1970.
    """

    place: str
    path: Path
    size: int
    used_at: float


class Ledger:
    """The trees of a cache.

    Parameters
    ----------
    cache : pathlib.Path
        Folder that holds a folder for each team.
    """

    def __init__(self, cache: Path) -> None:
        self.cache = cache

    def note(self, tree: Path, size: int) -> None:
        """Write down a tree that was just made."""
        record = self._record(tree)
        record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        record.write_text(str(size))

    def use(self, tree: Path) -> None:
        """Write down that a tree is used now."""
        with suppress(FileNotFoundError):  # It is measured at the next look.
            os.utime(self._record(tree))

    def put_away(self, tree: Path) -> Path:
        """Rename a tree so that nobody finds it; see :func:`nablahub.datasets.cache.put_away`."""
        gone = put_away(tree)
        self._record(tree).unlink(missing_ok=True)
        return gone

    def remove(self, gone: Path) -> None:
        """Delete what was put away."""
        remove_tree(gone)

    def trees(self) -> Iterator[Tree]:
        """Yield what is there."""
        for path in sorted(self.cache.glob("[!.]*/[!.]*")):
            if path.is_dir():
                yield Tree(f"{path.parent.name}/{path.name}", path, *self._look(path))

    def _look(self, tree: Path) -> tuple[int, float]:
        record = self._record(tree)
        try:
            return int(record.read_text()), record.stat().st_mtime
        except (OSError, ValueError):
            made = tree.stat().st_mtime
            self.note(tree, measure(tree))
            os.utime(record, (made, made))
            return int(record.read_text()), made

    def _record(self, tree: Path) -> Path:
        return self.cache / LEDGER / tree.parent.name / tree.name


def measure(tree: Path) -> int:
    """Return how many bytes of the disk a tree takes that are not another's too."""
    size = 0
    for folder, _, files in os.walk(tree):
        for name in (folder, *(f"{folder}/{name}" for name in files)):
            found = os.lstat(name)
            if name is folder or found.st_nlink == 1:
                size += found.st_blocks * 512  # stat(2) counts in units of 512 bytes.
    return size
