"""Bytes that never change, the lately used ones kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict


class Memory:
    """Keeps bytes by the digest that they were proved to have; used by many threads.

    Parameters
    ----------
    limit : int
        Most bytes that are kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._found: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, digest: str) -> bytes | None:
        """Return what has a digest, None when it is not here."""
        with self._lock:
            if (found := self._found.get(digest)) is not None:
                self._found.move_to_end(digest)
            return found

    def keep(self, digest: str, data: bytes) -> None:
        """Keep bytes of a digest; those that were used the longest time ago go."""
        with self._lock:
            if digest not in self._found:
                self._found[digest] = data
                self._size += len(data)
            while self._size > self._limit:
                self._size -= len(self._found.popitem(last=False)[1])
