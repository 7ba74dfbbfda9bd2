"""Locks by name, of which only those exist that somebody holds or waits for."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager


class Turns[Name: Hashable]:
    """Lets one thread at a time have a name; used by many threads."""

    def __init__(self) -> None:
        self._locks: dict[Name, tuple[threading.Lock, int]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def take(self, name: Name) -> Iterator[None]:
        """Hold the lock of a name; it is forgotten when nobody waits for it any more."""
        with self._lock:
            lock, count = self._locks.get(name, (threading.Lock(), 0))
            self._locks[name] = (lock, count + 1)
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, count = self._locks.pop(name)
                if count > 1:
                    self._locks[name] = (lock, count - 1)
