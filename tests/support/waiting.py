"""Waiting for something that has no event of its own, without ever guessing how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds after which a thing that must come is taken as never coming.
PATIENCE = 120.0


def until[T](
    look: Callable[[], T], what: str, *, seconds: float = PATIENCE, pause: float = 0.01
) -> T:
    """Return what ``look`` returns once it is true; fails with the last look when it never is."""
    end = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds:g} s; the last look: {found!r}")
        time.sleep(pause)
    return found
