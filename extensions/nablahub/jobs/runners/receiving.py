"""Taking in what a task on another machine left: its log while it is written, then its files.

All of it may be repeated, and interrupted by a kill anywhere.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from nablahub.core.archives import Rules, unpack_tar
from nablahub.jobs.runners import folder as files
from nablahub.jobs.runners import joining
from nablahub.jobs.runners.contract import TaskName
from nablahub.jobs.runners.feeding import Fed, feed
from nablahub.jobs.runners.reading import log_size
from nablahub.jobs.runners.remove import remove_tree

Part = Literal["artifacts", "outputs"]
#: How long the log is that came, and how long the file that was left of it.
_TAKEN = "log.json"
#: How much came of each pod's log, of a task with several of them.
_SOURCES = "sources.json"
#: What a command leaves is as large as its disk lets it be, and has the names it likes.
_LEFT: Final = Rules(size=1 << 50, count=100_000_000, portable=False)
#: A tree that breaks off so often is no sign of life any more.
_BREAKS: Final = 10


class Receiving:
    """Lays what comes into the tasks' folders.

    Parameters
    ----------
    jobs
        The folder that holds a folder for each task.
    reserve
        Bytes of its disk that what comes leaves free.
    """

    def __init__(self, jobs: Path, reserve: int = 0) -> None:
        self._jobs = jobs
        self._rules = replace(_LEFT, reserve=reserve)
        self._breaks: dict[TaskName, int] = {}
        self._locks: dict[TaskName, asyncio.Lock] = {}
        self._last: dict[TaskName, float] = {}
        self._last_tree: dict[TaskName, float] = {}

    async def log(
        self,
        name: TaskName,
        offset: int,
        chunks: AsyncIterator[bytes],
        source: str = "",
        *,
        node: int | None = None,
    ) -> int:
        """Take a part of a log and return how many bytes of it there are now.

        What came before is passed over, and what would leave a gap is not taken: the sender goes on
        from the number it is told.

        Parameters
        ----------
        name
            The task.
        offset
            Where in the log the part begins.
        chunks
            The part; of one of several nodes it ends at the end of a line, or is cut there.
        source
            Which pod sends it, of a server with several: each counts its own bytes, and the task's
            log has all of them as they come.
        node
            Which of a task's several nodes wrote it; None when there is one.
        """
        folder = self._jobs / name
        self.hear(name)
        async with self._lock(name):
            if files.read(folder, files.STATUS) is not None:
                return offset + sum([len(part) async for part in chunks])
            if node is not None:
                return await _of_node(folder, node, offset, chunks)
            have = await asyncio.to_thread(taken, folder, source)
            async for part in chunks:
                new = part[have - offset :] if offset <= have else b""
                offset += len(part)
                if new:
                    await asyncio.to_thread(_append, folder, new, have, source)
                    have += len(new)
            return have

    async def say(self, name: TaskName, key: str, text: str, *, node: int | None = None) -> None:
        """Write a line of our own into a task's log, once for each key."""
        folder = self._jobs / name
        async with self._lock(name):
            if node is None:
                await asyncio.to_thread(_say, folder, key, text)
            else:
                await asyncio.to_thread(joining.say, folder, node, key, text)

    async def tree(self, name: TaskName, part: Part, chunks: AsyncIterator[bytes]) -> None:
        """Take a folder as a tar archive; it replaces what came of it before.

        Raises
        ------
        nablahub.core.archives.BadArchive
            It is no archive of files and folders, or it names a place outside of the folder.
        nablahub.core.errors.StorageFull
            The disk has no room for it.
        """
        folder, rules = self._jobs / name, self._rules
        if self._breaks.get(name, 0) < _BREAKS:
            chunks = self._hearing_tree(name, chunks)
        self._breaks[name] = self._breaks.get(name, 0) + 1
        async with self._lock(name):
            await feed(chunks, lambda source: _unpack(folder, part, source, rules))
        self._breaks.pop(name, None)

    def hear(self, name: TaskName) -> None:
        """Note that something came of a task just now."""
        self._last[name] = time.monotonic()

    def heard(self, name: TaskName, *, trees: bool = True) -> float:
        """Return when something came of a task last, by the monotonic clock.

        Parameters
        ----------
        trees
            Whether what it left in folders counts.
        """
        last = self._last.get(name, -math.inf)
        return max(last, self._last_tree.get(name, -math.inf)) if trees else last

    async def hearing(self, name: TaskName, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield what comes of a task, and note each time that it does."""
        async for data in chunks:
            self.hear(name)
            yield data

    async def _hearing_tree(
        self, name: TaskName, chunks: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        async for data in chunks:
            self._last_tree[name] = time.monotonic()
            yield data

    def _lock(self, name: TaskName) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    def forget(self, name: TaskName) -> None:
        """Nothing more will come of a task."""
        self._locks.pop(name, None)
        for known in (self._last, self._last_tree, self._breaks):
            known.pop(name, None)


async def _of_node(folder: Path, node: int, offset: int, chunks: AsyncIterator[bytes]) -> int:
    have = await asyncio.to_thread(joining.taken, folder, node)
    # Whole, since it ends at the end of a line and its chunks do not.
    part = b"".join([chunk async for chunk in chunks])
    new = part[have - offset :] if offset <= have else b""
    if new:
        await asyncio.to_thread(joining.append, folder, node, new)
    return have + len(new)


def taken(folder: Path, source: str = "") -> int:
    """How many bytes of a task's log have come, those that were cut out of it included."""
    if source:
        return int((files.read(folder, _SOURCES) or {}).get(source, 0))
    size = log_size(folder)
    known = files.read(folder, _TAKEN)
    return size if known is None else int(known["came"]) + max(0, size - int(known["kept"]))


def _say(folder: Path, key: str, text: str) -> None:
    known = files.read(folder, _TAKEN) or {}
    said = known.get("said", [])
    if key in said or not folder.is_dir():
        return
    came, size = taken(folder), log_size(folder)
    # Before the line: after a kill between the two it is missing, and what the command says is not.
    new = {"came": came, "kept": size + len(text.encode()), "said": [*said, key]}
    files.write(folder, _TAKEN, new)
    with (folder / files.LOG).open("a", encoding="utf-8") as log:
        log.write(text)


def _append(folder: Path, data: bytes, have: int, source: str = "") -> None:
    if source:
        # Before the bytes: after a kill between the two a part is missing, and none is there twice.
        counts = files.read(folder, _SOURCES) or {}
        files.write(folder, _SOURCES, {**counts, source: have + len(data)})
        have = taken(folder)
    with (folder / files.LOG).open("ab") as log:
        log.write(data)
        log.flush()
    size = log_size(folder)
    if size > files.LOG_KEPT + files.LOG_TAIL:
        # Before the cut: a kill between the two leaves a log whose middle will be cut out anyway.
        kept = files.LOG_KEPT + len(files.LOG_CUT) + files.LOG_END
        said = (files.read(folder, _TAKEN) or {}).get("said", [])
        files.write(folder, _TAKEN, {"came": have + len(data), "kept": kept, "said": said})
        files.trim_log(folder)


def _unpack(folder: Path, part: Part, source: Fed, rules: Rules) -> None:
    """Unpack an archive beside the folder that it shall become."""
    new = folder / f".{part}.new"
    remove_tree(new)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    unpack_tar(source, new, rules)
    remove_tree(folder / part)
    new.rename(folder / part)
