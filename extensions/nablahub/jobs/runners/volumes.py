"""Volumes that the steps of a run hand on: who owns them removes them when it has ended."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Protocol

from nablahub.jobs.runners.remove import remove_tree


class Volumes(Protocol):
    """Volumes by their owner, which is the first part of their names: `<owner>/<name>`.

    Never a team's storage, nor a user's home.
    """

    async def owners(self) -> set[str]:
        """Return the owners of all volumes that there are."""

    async def remove(self, owner: str) -> None:
        """Remove the volumes of an owner, none of whose jobs runs; what is not there is fine."""


class LocalVolumes:
    """Volumes are folders.

    Parameters
    ----------
    root : pathlib.Path
        The folder that holds a folder for each owner.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    async def owners(self) -> set[str]:
        """See `Volumes.owners`."""

        def look() -> set[str]:
            return {path.name for path in self._root.iterdir()} if self._root.is_dir() else set()

        return await asyncio.to_thread(look)

    async def remove(self, owner: str) -> None:
        """See `Volumes.remove`."""
        await asyncio.to_thread(remove_tree, self._root / owner)
