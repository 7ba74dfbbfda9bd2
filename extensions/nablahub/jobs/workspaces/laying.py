"""What the service and a pod share when they lay a workspace out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from nablahub.core.archives import Rules
from nablahub.jobs.workspaces.types import LARGEST, MOST

#: Its names are those of its user's folder; how far it grows is proved when it is uploaded.
RULES: Final = Rules(size=LARGEST, count=2 * MOST, ratio=2000, portable=False)


class Pieces:
    """Pieces of bytes as something to read from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        """Return up to so many bytes, none at the end."""
        while not self._rest:
            data = next(self._chunks, None)
            if data is None:
                return b""
            self._rest = data
        found, self._rest = self._rest[:size], self._rest[size:]
        return found
