"""Versions that are deleted: hidden at once, and their bytes collected later, on request.

Deleting a version only hides it. Collecting finds what no other version and no upload that is going
on needs, sets the day on which it goes, and until that day all of it can be had back.

What is waste stands in manifests and packs, which are read outside of transactions: a store may be
slow. :func:`look` says what the rows were then, and the write transaction that takes bytes away
does so only if they still are; else all is looked at again. While an upload is going on nothing is
taken: it may count on any of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from nablahub.core.times import now
from nablahub.datasets.contents import Contents
from nablahub.datasets.errors import InUse, NoSuchVersion
from nablahub.datasets.layout import manifest_key, pack_key
from nablahub.datasets.lineage import outputs_of
from nablahub.datasets.store import (
    DatasetRow,
    GarbageRow,
    InputRow,
    LinkRow,
    PackRow,
    TagRow,
    UploadRow,
    VersionRow,
    pack_names,
    versions_of,
)
from nablahub.datasets.uploads import drop_unlinked

if TYPE_CHECKING:
    from nablahub.datasets.service import DatasetService

#: How long a collection can be undone.
KEPT: Final = timedelta(days=7)


@dataclass(frozen=True)
class Stock:
    """What the rows of a dataset say, of which its waste follows.

    Parameters
    ----------
    dataset : DatasetRow
        Which dataset.
    versions : list of VersionRow
        All that have bytes or hold pages of others, by number.
    packs : list of str
        Names of the packs that versions use.
    large : set of str
        md5s of the large objects that versions use.
    """

    dataset: DatasetRow
    versions: list[VersionRow]
    packs: list[str]
    large: set[str]

    @property
    def deleted(self) -> list[VersionRow]:
        """Those that can be had back."""
        return [row for row in self.versions if row.deleted_at and not row.purged_at]

    def due(self, at: datetime) -> list[VersionRow]:
        """Return the versions whose day has come."""
        return [row for row in self.deleted if row.purge_at and row.purge_at <= at]

    def is_as(self, other: Stock) -> bool:
        """Whether nothing has changed that matters to what is waste."""
        mine, others = [
            ({(row.id, row.purge_at, row.purged_at) for row in stock.versions},
             set(stock.packs), stock.large)
            for stock in (self, other)
        ]  # fmt: skip
        return mine == others


def look(session: Session, dataset: DatasetRow) -> Stock:
    """Return what the rows of a dataset say."""
    rows = session.scalars(select(VersionRow).where(VersionRow.dataset_id == dataset.id))
    large = session.scalars(
        select(LinkRow.md5).where(LinkRow.dataset_id == dataset.id, LinkRow.upload_id.is_(None))
    )
    return Stock(
        dataset, sorted(rows, key=lambda row: row.number),
        pack_names(session, dataset.id, committed=True), set(large),
    )  # fmt: skip


@dataclass
class Waste:
    """What deleted versions of a dataset alone hold.

    Parameters
    ----------
    files : list of (str, str, int)
        Version, path and bytes of each file whose bytes nothing else needs.
    packs, large, manifests : set of str
        Names of packs, md5s of large objects and versions whose manifests nothing else needs.
    """

    versions: list[str] = field(default_factory=list)
    files: list[tuple[str, str, int]] = field(default_factory=list)
    packs: set[str] = field(default_factory=set)
    large: set[str] = field(default_factory=set)
    manifests: set[str] = field(default_factory=set)


def bin_version(session: Session, service: DatasetService, row: VersionRow) -> None:
    """Delete a version; it can be had back until its bytes are collected.

    Raises
    ------
    InUse
        When something depends on it, a tag stands for it, or other versions were made from it.
    """
    holders = [what for guard in service.version_guards for what in guard(session, row.id)]
    tags = session.scalars(select(TagRow.name).where(TagRow.version_id == row.id)).all()
    holders += [f"the tag '{name}'" for name in tags]
    holders += [f"the version {name}" for name in outputs_of(session, row)]
    if holders:
        shown = ", ".join(holders[:5]) + (" and others" if len(holders) > 5 else "")
        raise InUse(
            f"The version {row.id} is needed by {shown}.",
            hint="Delete what depends on it first.",
        )
    row.deleted_at = now()
    _renew_latest(session, service, row.dataset_id)


def restore(
    session: Session, service: DatasetService, dataset: DatasetRow, name: str
) -> VersionRow:
    """Take a deleted version back; NoSuchVersion when its bytes are gone or it never was."""
    row = session.get(VersionRow, f"{dataset.id}:{name.removeprefix(f'{dataset.id}:')}")
    if row is None or row.purged_at is not None:
        raise NoSuchVersion(f"{dataset.name}:{name}")
    row.deleted_at = row.purge_at = None
    _renew_latest(session, service, dataset.id)
    return row


def _renew_latest(session: Session, service: DatasetService, dataset_id: str) -> None:
    session.flush()
    dataset = session.get_one(DatasetRow, dataset_id)
    newest = versions_of(dataset_id).order_by(VersionRow.number.desc()).limit(1)
    found = session.scalars(newest).first()
    dataset.latest = None if found is None else found.id
    dataset.revision += 1
    dataset.updated_at = now()
    service.tell(session, dataset, "changed")


def deleted(session: Session, dataset_id: str) -> Sequence[VersionRow]:
    """Return the deleted versions of a dataset."""
    query = select(VersionRow).where(
        VersionRow.dataset_id == dataset_id, VersionRow.deleted_at.is_not(None),
        VersionRow.purged_at.is_(None),
    )  # fmt: skip
    return session.scalars(query.order_by(VersionRow.number)).all()


def find_waste(service: DatasetService, stock: Stock, gone: Sequence[VersionRow]) -> Waste:
    """Return what only these versions need; reads each different page of the manifests once.

    It reads the store, so it is no work for a transaction.
    """
    waste, dataset = Waste([row.id for row in gone]), stock.dataset
    if not gone:
        return waste
    names = {row.id for row in gone}
    purged = {row.version for row in stock.versions if row.purged_at is not None}
    kept = [row for row in stock.versions if row.id not in names and row.purged_at is None]
    pages: set[str] = set()
    needed: set[str] = set()
    holders: set[str] = set()
    for row in kept:
        reader = service.manifest(dataset, row)
        holders.add(row.version)
        for number, page in enumerate(reader.root.pages):
            holders.add(page.place.partition(" ")[0])
            if page.digest not in pages:
                pages.add(page.digest)
                needed.update(entry.md5 for entry in reader.page(number))
    wanted: set[str] = set()
    for row in gone:
        reader = service.manifest(dataset, row)
        for number, page in enumerate(reader.root.pages):
            if page.digest in pages:
                continue
            for entry in reader.page(number):
                if entry.md5 not in needed:
                    wanted.add(entry.md5)
                    waste.files.append((row.version, entry.path, entry.size))
    waste.manifests = ({row.version for row in gone} | purged) - holders
    waste.large = stock.large & wanted
    contents = Contents(service.store(dataset.space), dataset.id, stock.packs, service.tables)
    binary = {bytes.fromhex(md5) for md5 in needed}
    # Those of uploads that go on are not among them.
    waste.packs = {name for name, index in contents.readable() if binary.isdisjoint(index.md5s())}
    return waste


def condemn(session: Session, dataset: DatasetRow, gone: Sequence[VersionRow]) -> None:
    """Set the day on which the bytes of deleted versions go."""
    at = now() + KEPT
    for row in gone:
        row.purge_at = row.purge_at or at


def pardon(session: Session, dataset: DatasetRow) -> list[str]:
    """Undo all collections of a dataset that are not through; return the versions kept."""
    rows = [row for row in deleted(session, dataset.id) if row.purge_at is not None]
    for row in rows:
        row.purge_at = None
    return [row.id for row in rows]


def is_building(session: Session, dataset_id: str) -> bool:
    """Whether an upload or a draft is going on, which may count on any bytes of a dataset."""
    going = select(UploadRow.id).where(UploadRow.dataset_id == dataset_id).limit(1)
    return session.scalars(going).first() is not None


def purge(session: Session, service: DatasetService, stock: Stock, waste: Waste) -> bool:
    """Take away the bytes that only some versions need; in a write transaction.

    Returns
    -------
    bool
        False when the rows are not those of the stock any more; nothing is done then.
    """
    found = session.get(DatasetRow, stock.dataset.id)
    if found is None or is_building(session, found.id):
        return False
    dataset, current = found, look(session, found)
    if not current.is_as(stock):
        return False
    due = [row for row in current.versions if row.id in set(waste.versions)]
    for start in range(0, len(due), 500):
        ids = [row.id for row in due[start : start + 500]]
        session.execute(delete(InputRow).where(InputRow.version_id.in_(ids)))
        session.execute(update(VersionRow).where(VersionRow.parent.in_(ids)).values(parent=None))
    for row in due:
        row.purged_at = now()
    for name in sorted(waste.packs):
        session.execute(
            delete(PackRow).where(PackRow.dataset_id == dataset.id, PackRow.pack == name)
        )
        key = pack_key(dataset.id, name)
        session.add(GarbageRow(team_id=dataset.space, kind="pack", name=key))
    for md5 in sorted(waste.large):
        session.execute(delete(LinkRow).where(LinkRow.dataset_id == dataset.id, LinkRow.md5 == md5))
    session.flush()
    for version in sorted(waste.manifests):
        session.execute(delete(VersionRow).where(VersionRow.id == f"{dataset.id}:{version}"))
        key = manifest_key(dataset.id, version)
        session.add(GarbageRow(team_id=dataset.space, kind="manifest", name=key))
    session.flush()
    drop_unlinked(session, dataset.space, waste.large)
    service.collect_later(session, dataset.space)
    return True
