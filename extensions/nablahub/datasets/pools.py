"""Work that a client does side by side."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, as_completed


def wait_all(work: Sequence[Future[None]]) -> None:
    """Wait for all of it; nothing more is begun after the first that fails, which is raised."""
    try:
        for future in as_completed(work):
            future.result()
    except BaseException:  # An interrupt, too, must not wait for what has not begun.
        for future in work:
            future.cancel()
        raise
