"""Counts what a process does to files, sockets and its database, and kills it at one of these acts.

An act is a moment just before something lasting happens, or just after: those between which a kill
makes a difference. Which one is drawn from a seed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

#: Python's own audit events, and not those of what is only read.
WATCHED = ("open", "os.", "shutil.", "http.client.")
UNWATCHED = ("os.listdir", "os.scandir", "os.walk", "os.getxattr")


class Countdown:
    """Kills this process at the n-th act after it was armed; with 0 it only counts."""

    def __init__(self) -> None:
        self._at, self._count, self._armed = 0, 0, False
        self._lock = threading.Lock()
        sys.addaudithook(self._audit)

    def arm(self, at: int) -> None:
        """Count from now on."""
        self._at, self._count, self._armed = at, 0, True

    def disarm(self) -> int:
        """Stop counting and return how many acts there were."""
        self._armed = False
        return self._count

    def tick(self, *_: Any, **__: Any) -> None:
        """Count one act."""
        if not self._armed:
            return
        with self._lock:
            self._count += 1
            if self._count == self._at:
                self._armed = False  # The kill is an act, too.
                os.kill(os.getpid(), signal.SIGKILL)

    def around[**P, T](self, work: Callable[P, T]) -> Callable[P, T]:
        """Return a function that counts an act before and one after another."""

        def counted(*args: P.args, **kwargs: P.kwargs) -> T:
            self.tick()
            result = work(*args, **kwargs)
            self.tick()
            return result

        return counted

    def _audit(self, name: str, _arguments: Any) -> None:
        if self._armed and name.startswith(WATCHED) and name not in UNWATCHED:
            self.tick()
