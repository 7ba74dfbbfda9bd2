"""Deleting bytes of an S3 that no row refers to any more.

No transaction waits for a store that is elsewhere. A first one says which keys are doomed; then
they are deleted; then their notes. Meanwhile nobody stores anything under a doomed key, and what is
on its way has a row in the table of transfers and is not doomed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from nablahub.core.s3 import S3Store
from nablahub.datasets.layout import dataset_prefixes
from nablahub.datasets.store import (
    GarbageRow,
    ObjectRow,
    PackRow,
    TransferRow,
    UploadRow,
    VersionRow,
)

BATCH: Final = 100


@dataclass
class Doomed:
    """What is to be deleted now.

    Parameters
    ----------
    notes : list of int
        Ids of the notes that are done with afterwards.
    keys, datasets : list of str
        Single objects, and datasets of which everything goes.
    multiparts : list of (str, str)
        Keys and names of uploads in parts that are given up.
    """

    notes: list[int] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)
    multiparts: list[tuple[str, str]] = field(default_factory=list)


def doom(session: Session, space: str) -> Doomed:
    """Choose what is deleted next; must run in a write transaction."""
    for ended in session.scalars(select(TransferRow).filter_by(team_id=space, upload_id=None)):
        session.add(
            GarbageRow(team_id=space, kind=ended.kind, name=ended.key, multipart=ended.multipart)
        )
        session.delete(ended)
    session.flush()
    found = Doomed()
    query = select(GarbageRow).where(GarbageRow.team_id == space, GarbageRow.kind != "parts")
    for row in session.scalars(query.order_by(GarbageRow.id).limit(BATCH)):
        if session.get(TransferRow, (space, row.name)) is not None:
            continue
        found.notes.append(row.id)
        row.doomed = True
        if row.multipart:
            found.multiparts.append((row.name, row.multipart))
        if row.kind == "dataset":
            found.datasets.append(row.name)
        elif not _is_used(session, space, row):
            found.keys.append(row.name)
        else:
            row.doomed = False
    return found


def _is_used(session: Session, space: str, row: GarbageRow) -> bool:
    """Whether a row refers to an object again."""
    first, second = row.name.split("/")[-2:]
    if row.kind == "pack":
        return session.get(PackRow, (first, second)) is not None
    if row.kind == "manifest":
        return session.get(VersionRow, f"{first}:{second}") is not None
    return session.get(ObjectRow, (space, first + second)) is not None


def remove(store: S3Store, found: Doomed) -> None:
    """Delete it; what is gone already is no error."""
    for key, multipart in found.multiparts:
        store.transfers.abort(key, multipart)
    store.remove_all(found.keys)
    for dataset in found.datasets:
        for prefix in dataset_prefixes(dataset):
            store.remove_all(list(store.keys(prefix)))


def forget(session: Session, found: Doomed) -> None:
    """Forget the notes of what was deleted."""
    session.execute(delete(GarbageRow).where(GarbageRow.id.in_(found.notes)))


def end_lost(session: Session, before: datetime) -> None:
    """Let go of transfers begun before a time of which nobody knows any more."""
    alive = select(UploadRow.id)
    session.execute(
        update(TransferRow)
        .where(TransferRow.upload_id.not_in(alive), TransferRow.created_at < before)
        .values(upload_id=None)
    )


def abort_lost(
    store: S3Store,
    read: Callable[[Callable[[Session], set[str]]], set[str]],
    space: str,
    before: datetime,
) -> int:
    """Give up the uploads in parts, begun before a time, that no row knows; return how many.

    An upload gets its name from the store just before that is written into its row, and one of the
    service's own is in no row at all: a crash leaves it.
    """  # fmt: skip
    found = [begun for begun in store.transfers.begun() if begun.at < before]
    if not found:
        return 0

    def names(session: Session) -> set[str]:
        rows = select(TransferRow.multipart).where(TransferRow.team_id == space)
        notes = select(GarbageRow.multipart).where(GarbageRow.team_id == space)
        return {*session.scalars(rows), *session.scalars(notes)}

    known = read(names)
    lost = [begun for begun in found if begun.upload not in known]
    for begun in lost:
        store.transfers.abort(begun.key, begun.upload)
    return len(lost)


def is_doomed(session: Session, space: str, key: str) -> bool:
    """Whether an object is being deleted just now."""
    query = select(GarbageRow.id).filter_by(team_id=space, name=key, doomed=True)
    return session.scalars(query.limit(1)).first() is not None
