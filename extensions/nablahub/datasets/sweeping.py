"""Finding what a killed process left in a store without a row, or a word of one.

Everything here blocks and runs in a thread, but for :meth:`Sweeping.daily`.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy.orm import Session

from nablahub.core.context import Context
from nablahub.core.errors import NablaError
from nablahub.core.objects import DirectoryStore
from nablahub.core.s3 import S3Store
from nablahub.core.times import now
from nablahub.datasets import garbage, remote_garbage, uploads
from nablahub.datasets.cache import sweep
from nablahub.datasets.store import used_spaces
from nablahub.datasets.threads import blocking, in_thread

if TYPE_CHECKING:
    from nablahub.datasets.building import Building
    from nablahub.datasets.service import DatasetService

#: What looks for things that no row knows, and how old they must be.
LEFTOVERS: Final = "dataset-leftovers"
LOST: Final = timedelta(seconds=garbage.LOST_SECONDS)


class Sweeping:
    """Sweeps the stores of all spaces."""

    def __init__(self, context: Context, building: Building, datasets: DatasetService) -> None:
        self._context, self._building, self._datasets = context, building, datasets

    def at_start(self) -> None:
        """Delete what a process left when it died; nobody may be writing."""
        state = self._context.settings.state
        sweep(state.cache)
        for folder in state.objects.glob("*"):
            store = DirectoryStore(folder)
            store.sweep()
            self._building.write(partial(garbage.end_cut_off, parts=folder / "parts"))
            find = partial(garbage.orphans, store=store, team_id=folder.name)
            for key in self._building.read(find):
                store.remove(key)

    async def daily(self, _: str) -> float | None:
        """End what was given up, and sweep while others write; see `Reconciler`."""
        tell = self._datasets.collect_later
        await in_thread(self._building.write, lambda s: uploads.end_stale(s, tell))
        before = now() - LOST
        for space in await in_thread(self._building.read, used_spaces):
            with suppress(NablaError):  # One store that is away keeps no other from it.
                await blocking(self.remote, space, before)
        for folder in sorted(self._context.settings.state.objects.glob("*")):
            await blocking(self.folder, folder, before)
        return LOST.total_seconds()

    def remote(self, space: str, before: datetime) -> None:
        """Delete what a crash left in an S3 before a time."""
        store = self._datasets.store(space)
        if isinstance(store, S3Store):
            remote_garbage.abort_lost(store, self._building.read, space, before)
            self._building.write(lambda s: remote_garbage.end_lost(s, before))
            self._building.write(lambda s: self._datasets.collect_later(s, space))

    def folder(self, folder: Path, before: datetime) -> None:
        """Delete what a crash left in a space's folder of this machine before a time."""
        store, space, moment = DirectoryStore(folder), folder.name, before.timestamp()
        store.sweep(moment)
        cut_off = partial(garbage.end_cut_off, parts=folder / "parts", before=moment)
        self._building.write(cut_off)
        find = partial(garbage.lost, store=store, team_id=space, before=moment)
        found = self._building.read(find)

        def note(session: Session) -> None:
            session.add_all(found)
            self._datasets.collect_later(session, space)

        if found:
            self._building.write(note)
