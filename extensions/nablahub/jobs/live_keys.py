"""Folders of key hashes that servers on other machines follow: who waits is told of each change."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any, Final

FILE_NAME: Final = "keys.json"
#: How long one who waits is kept waiting.
PATIENCE_SECONDS: Final = 25.0


class LiveKeys:
    """The files of keys below a folder; used on the event loop only.

    Parameters
    ----------
    root : Path
        Holds a folder for each server's keys.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._changes: dict[str, asyncio.Event] = {}
        self._closed = False

    def changed(self, ref: str) -> None:
        """Wake those that wait for a change of some keys."""
        event = self._changes.pop(ref, None)
        if event is not None:
            event.set()

    def close(self) -> None:
        """Let nobody wait any more."""
        self._closed = True
        for ref in list(self._changes):
            self.changed(ref)

    async def wait(self, ref: str, known: str) -> tuple[str, dict[str, Any]]:
        """Return the keys and what names their content, at once when that is not what is known.

        Else after the next change, or after `PATIENCE_SECONDS`.
        """
        until = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            event = self._changes.setdefault(ref, asyncio.Event())
            content = await asyncio.to_thread(self._read, ref)
            version = hashlib.sha256(content).hexdigest()
            left = until - asyncio.get_running_loop().time()
            if version != known or left <= 0 or self._closed:
                return version, json.loads(content)
            try:
                async with asyncio.timeout(left):
                    await event.wait()
            except TimeoutError:
                continue

    def _read(self, ref: str) -> bytes:
        try:
            return (self._root / ref / FILE_NAME).read_bytes()
        except FileNotFoundError:
            return b'{"keys": []}'
