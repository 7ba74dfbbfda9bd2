"""What the trees of dataset versions are made from, and which of them the store itself needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from nablahub.datasets.keeping import Reader, Recipe
from nablahub.datasets.layout import cache_name
from nablahub.datasets.manifest import Entry
from nablahub.datasets.store import DamageRow, DatasetRow, VersionRow, versions_of

if TYPE_CHECKING:
    from nablahub.datasets.service import DatasetService


def of_version(
    datasets: DatasetService, session: Session, dataset: DatasetRow, version: VersionRow
) -> Recipe:
    """Return what a version's tree is made from."""

    def entries() -> Iterable[Entry]:
        return datasets.manifest(dataset, version).entries()

    return Recipe(datasets.contents(session, dataset), entries)


def of_name(datasets: DatasetService, session: Session, name: str) -> Recipe | None:
    """Return what the tree of a name is made from; None when it is no version's, or is purged."""
    dataset, _, version = name.partition("-")
    row = session.get(VersionRow, f"{dataset}:{version}")
    if row is None or row.purged_at is not None:
        return None
    return of_version(datasets, session, session.get_one(DatasetRow, dataset), row)


def good_copies(session: Session) -> Iterator[Reader]:
    """Yield the trees that may hold what is damaged in the store: it is restored from them."""
    damage = session.execute(select(DamageRow.team_id, DamageRow.dataset_id).distinct()).all()
    if not damage:
        return
    spaces = {space for space, dataset in damage if not dataset}
    datasets = {dataset for _, dataset in damage if dataset}
    for row in session.scalars(select(DatasetRow)):
        if row.id in datasets or row.space in spaces:
            for version in session.scalars(versions_of(row.id)):
                place = f"{row.team_id}/{cache_name(row.id, version.version)}"
                yield Reader(place, f"the repair of {row.name}, whose stored bytes are damaged")
