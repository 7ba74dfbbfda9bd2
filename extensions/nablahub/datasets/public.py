"""The trees of public datasets that servers of other teams see.

They lie in a folder of the cache that is shown to every server, beside the teams' own: what is
another team's stays unseen. Once a dataset is not public any more they are taken away, whoever
reads them. As :class:`nablahub.jobs.data.Materialiser` this is what jobs on a cluster fetch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy.orm import Session

from nablahub.core.context import Context
from nablahub.core.identity import PUBLIC
from nablahub.core.permissions import Principal
from nablahub.datasets import recipes
from nablahub.datasets.errors import NoSuchDataset, NoSuchVersion
from nablahub.datasets.keeping import Recipe
from nablahub.datasets.layout import cache_name
from nablahub.datasets.store import DatasetRow, VersionRow

if TYPE_CHECKING:
    from nablahub.datasets.service import DatasetService

#: What takes the trees of a dataset away that is not public any more; an item is its id.
WITHDRAW: Final = "dataset-private"


class PublicTrees:
    """Versions of public datasets, for whoever can sign in."""

    def __init__(self, context: Context, datasets: DatasetService) -> None:
        self._context, self._datasets = context, datasets
        self._cache = context.settings.state.cache / PUBLIC
        context.reconciler.register(WITHDRAW, self._withdraw)

    def resume(self, session: Session) -> None:
        """Look once whether all that is shown may be."""
        for dataset_id in {tree.name.partition("-")[0] for tree in self._cache.glob("[!.]*")}:
            self.withdraw_later(session, dataset_id)

    def withdraw_later(self, session: Session, dataset_id: str) -> None:
        """Take away what servers see of a dataset, unless it is public."""
        self._context.reconciler.wake(session, WITHDRAW, dataset_id)

    def resolve(self, session: Session, who: Principal | str, ref: str) -> VersionRow:
        """Return the version of a public dataset that a reference means now.

        Raises
        ------
        NoSuchDataset, NoSuchVersion
        """
        row = self._datasets.resolve(session, who, ref)
        _check(session, row)
        return row

    def place(self, session: Session, version_id: str) -> str:
        """Return where a version's tree lies; NoSuchVersion, NoSuchDataset if it is not public."""
        row = session.get(VersionRow, version_id)
        if row is None:
            raise NoSuchVersion(version_id)
        _check(session, row)
        return f"{PUBLIC}/{cache_name(row.dataset_id, row.version)}"

    def cached_at(self, version_id: str) -> str:
        """Return the same; blocks."""
        return self._context.database.read_sync(lambda s: self.place(s, version_id))

    def materialise(self, version_id: str) -> Path:
        """Return the read-only tree of a version, made when it is not there; blocks.

        Raises
        ------
        NoSuchVersion, NoSuchDataset, StorageFull
        """

        def look(session: Session) -> tuple[str, Recipe]:
            place = self.place(session, version_id)
            version = session.get_one(VersionRow, version_id)
            dataset = session.get_one(DatasetRow, version.dataset_id)
            return place, recipes.of_version(self._datasets, session, dataset, version)

        place, recipe = self._context.database.read_sync(look)
        tree = self._datasets.building.keeping.tree(recipe, *place.split("/"))
        try:
            self.cached_at(version_id)  # Who withdraws sees the tree from now on, or has done so.
        except (NoSuchDataset, NoSuchVersion):
            self._datasets.building.keeping.discard(tree)
            raise
        return tree

    def withdrawn(self, session: Session, places: Iterable[str]) -> list[str]:
        """Return those of some places whose trees no server may see any more."""
        return [place for place in places if not self._may_be_seen(session, place)]

    def _may_be_seen(self, session: Session, place: str) -> bool:
        folder, _, name = place.partition("/")
        return folder != PUBLIC or _is_public(session, name.partition("-")[0])

    async def _withdraw(self, dataset_id: str) -> None:
        if not await self._context.database.read(partial(_is_public, dataset_id=dataset_id)):
            await asyncio.to_thread(self._discard, dataset_id)

    def _discard(self, dataset_id: str) -> None:
        for tree in self._cache.glob(f"{dataset_id}-*"):
            self._datasets.building.keeping.discard(tree)


def _is_public(session: Session, dataset_id: str) -> bool:
    row = session.get(DatasetRow, dataset_id)
    return row is not None and row.public


def _check(session: Session, version: VersionRow) -> None:
    if not _is_public(session, version.dataset_id):
        raise NoSuchDataset(version.dataset_id)
