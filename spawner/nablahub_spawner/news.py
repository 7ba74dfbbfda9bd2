"""What is told while a server starts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator


class News:
    """Sentences, kept for as many readers as come, each from the beginning: pages are reloaded."""

    def __init__(self) -> None:
        self._told: list[str] = []
        self._ended = False
        self._changed = asyncio.Event()

    @property
    def last(self) -> str | None:
        """What was told last."""
        return self._told[-1] if self._told else None

    def tell(self, sentence: str) -> bool:
        """Add a sentence, unless it was the last one already; returns whether it was new."""
        if self._told and self._told[-1] == sentence:
            return False
        self._told.append(sentence)
        self._wake()
        return True

    def end(self) -> None:
        """Say that nothing more comes."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[str]:
        shown = 0
        while True:
            changed = self._changed  # before looking, so that nothing told meanwhile is missed
            while shown < len(self._told):
                shown += 1
                yield self._told[shown - 1]
            if self._ended:
                return
            await changed.wait()
