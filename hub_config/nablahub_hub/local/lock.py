"""One ``up`` per state directory: a file lock, and beside it what its holder tells."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nablahub.core.state import StateDir
from nablahub_hub.local.config import write_private


@contextmanager
def held(state: StateDir) -> Iterator[bool]:
    """Hold the lock within the block; yields False when another process holds it.

    The kernel drops the lock with its holder, so a killed ``up`` blocks nobody.
    """
    path = state.run / "up.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        publish(state, {})
        try:
            yield True
        finally:
            (state.run / "up.pid").unlink(missing_ok=True)
    finally:
        os.close(handle)


def is_held(state: StateDir) -> bool:
    """Whether some ``up`` runs for that state directory."""
    try:
        handle = os.open(state.run / "up.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def publish(state: StateDir, told: dict[str, Any]) -> None:
    """Write what the holder tells; ``url`` is there when all is ready."""
    content = {"pid": os.getpid(), "since": time.time(), **told}
    write_private(state.run / "up.pid", json.dumps(content) + "\n")


def holder(state: StateDir) -> dict[str, Any] | None:
    """Return what the running ``up`` tells, None when none runs."""
    if not is_held(state):
        return None
    try:
        told: dict[str, Any] = json.loads((state.run / "up.pid").read_text())
    except (FileNotFoundError, ValueError):
        return None  # it has just taken the lock, or is about to leave
    return told
