"""Deleting bytes that no row refers to any more.

A deletion first removes rows and notes what is left over, in one transaction. The bytes go here,
later, each after another look in a write transaction: somebody may have stored the same object
again, and then it stays. A crash between the two leaves the note, and the work goes on after it.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from nablahub.core.objects import DirectoryStore, ObjectStore
from nablahub.datasets.arriving import COMING, ONE_REQUEST, PUSHED
from nablahub.datasets.cache import discard, remove_tree
from nablahub.datasets.intake import Parts
from nablahub.datasets.layout import dataset_prefixes, manifest_key, object_key, pack_key
from nablahub.datasets.local import LOCAL
from nablahub.datasets.store import (
    DatasetRow,
    GarbageRow,
    ObjectRow,
    PackRow,
    UploadRow,
    VersionRow,
)
from nablahub.datasets.uploads import end

BATCH: Final = 100
#: No request takes so long.
LOST_SECONDS: Final = 24 * 3600
_KINDS: Final = {"packs": "pack", "manifests": "manifest", "files": "object"}


def teams_with_garbage(session: Session) -> list[str]:
    """Return the teams for which something waits to be deleted."""
    return list(session.scalars(select(GarbageRow.team_id).distinct()))


def collect(session: Session, store: ObjectStore, parts: Parts, cache: Path, team_id: str) -> bool:
    """Delete a batch of a team's left-over bytes and tell whether more is waiting.

    Must run in a write transaction, so that nobody stores the same bytes meanwhile. When its
    commit fails, the notes stay and the next run finds the bytes gone already.
    """
    query = select(GarbageRow).where(GarbageRow.team_id == team_id).order_by(GarbageRow.id)
    rows = session.scalars(query.limit(BATCH)).all()
    acts: dict[str, Callable[[str], None]] = {
        "pack": lambda name: _pack(session, store, name),
        "object": lambda name: _object(session, store, team_id, name),
        "parts": lambda name: _parts(session, parts, name),
        "manifest": lambda name: _manifest(session, store, name),
        "dataset": lambda name: _dataset(session, store, cache, name),
    }
    for row in rows:
        acts[row.kind](row.name)
        session.delete(row)
    return len(rows) == BATCH


def orphans(session: Session, store: ObjectStore, team_id: str) -> list[str]:
    """Return the keys of a team's store that no row refers to: a crash came before the row.

    Only right while nobody writes, so at the service's start.
    """
    packs = select(PackRow.dataset_id, PackRow.pack).where(PackRow.team_id == team_id)
    known = {pack_key(*row) for row in session.execute(packs)}
    versions = select(VersionRow.dataset_id, VersionRow.version).join(
        DatasetRow, DatasetRow.id == VersionRow.dataset_id
    )
    rows = session.execute(versions.where(DatasetRow.team_id == team_id))
    known.update(manifest_key(*row) for row in rows)
    large = session.scalars(select(ObjectRow.md5).where(ObjectRow.team_id == team_id))
    known.update(object_key(md5) for md5 in large)
    uploads = set(session.scalars(select(UploadRow.id)))
    found = [key for top in ("packs", "manifests", "files") for key in store.keys(top)]
    datasets = {upload.partition(":")[0] for upload in uploads}
    parts = [key for key in store.keys("parts") if _is_lost(key, uploads, datasets)]
    return [key for key in found if key not in known] + parts


def lost(session: Session, store: DirectoryStore, team_id: str, before: float) -> list[GarbageRow]:
    """Return notes of what came to a team's store before a time, and no row tells of it.

    Others may be writing. Who is about to count bytes looks whether they are there; of manifests
    nobody does, so those of open uploads stay. What arrived for nobody is deleted at once.

    Parameters
    ----------
    before : float
        Seconds since 1970.
    """
    found: set[tuple[str, str]] = set()
    for key in orphans(session, store, team_id):
        top, dataset, *names = key.split("/")
        with suppress(FileNotFoundError):
            if store.local(key).stat().st_mtime >= before:
                continue
        if top == "parts" and names[-1].startswith((LOCAL, COMING)):
            store.remove(key)
        elif top == "parts":
            found.add((top, dataset))
        elif top != "manifests" or session.get(UploadRow, f"{dataset}:{names[0]}") is None:
            found.add((_KINDS[top], key))
    return [GarbageRow(team_id=team_id, kind=kind, name=name) for kind, name in sorted(found)]


def _is_lost(key: str, uploads: set[str], datasets: set[str]) -> bool:
    """Whether what arrived is of no use once its sender has gone, or of no open upload."""
    _, dataset, *names = key.split("/")
    if names[-1].startswith((LOCAL, COMING)):
        return True
    if len(names) > 1 and names[0].startswith(PUSHED):
        return f"{dataset}:{names[0].removeprefix(PUSHED)}" not in uploads
    return dataset not in datasets


def end_cut_off(
    session: Session, parts: Path, dataset: str = "*", before: float = math.inf
) -> None:
    """End the uploads of requests that a process was answering when it died.

    Parameters
    ----------
    parts : pathlib.Path
        What arrived for a space.
    dataset : str
        Of which dataset; of all by default.
    before : float
        Seconds since 1970 before which they had begun.
    """
    for marker in parts.glob(f"{dataset}/{PUSHED}*/{ONE_REQUEST}"):
        version = marker.parent.name.removeprefix(PUSHED)
        row = session.get(UploadRow, f"{marker.parent.parent.name}:{version}")
        with suppress(FileNotFoundError):  # Its request is just ending.
            if row is not None and marker.stat().st_mtime < before:
                end(session, parts.parent.name, row)


def _pack(session: Session, store: ObjectStore, key: str) -> None:
    _, dataset, pack = key.split("/")
    if session.get(PackRow, (dataset, pack)) is None:
        store.remove(key)


def _manifest(session: Session, store: ObjectStore, key: str) -> None:
    _, dataset, version = key.split("/")
    if session.get(VersionRow, f"{dataset}:{version}") is None:
        store.remove(key)


def _object(session: Session, store: ObjectStore, team_id: str, key: str) -> None:
    first, rest = key.split("/")[-2:]
    if session.get(ObjectRow, (team_id, first + rest)) is None:
        store.remove(key)


def forget_parts(session: Session, parts: Parts, space: str) -> None:
    """Delete what had arrived at the service of uploads that have ended."""
    for row in session.scalars(select(GarbageRow).filter_by(team_id=space, kind="parts")):
        _parts(session, parts, row.name)
        session.delete(row)


def remove_trees(cache: Path, dataset: str) -> None:
    """Delete a dataset's trees from the cache of all teams."""
    for tree in cache.glob(f"*/{dataset}-*"):
        discard(tree)


def _parts(session: Session, parts: Parts, dataset: str) -> None:
    # Others may be writing: only what is old has lost its process for certain.
    end_cut_off(session, parts.root, dataset, time.time() - LOST_SECONDS)
    folder = parts.root / dataset
    for pushed in folder.glob(f"{PUSHED}*/"):
        if session.get(UploadRow, f"{dataset}:{pushed.name.removeprefix(PUSHED)}") is None:
            shutil.rmtree(pushed, ignore_errors=True)
    if session.scalars(select(UploadRow.id).filter_by(dataset_id=dataset).limit(1)).first() is None:
        parts.forget(dataset)


def _dataset(session: Session, store: ObjectStore, cache: Path, dataset: str) -> None:
    if session.get(DatasetRow, dataset) is not None:
        return
    for prefix in dataset_prefixes(dataset):
        for key in store.keys(prefix):
            store.remove(key)
        if (folder := store.local(prefix)) is not None:
            remove_tree(folder)
    remove_trees(cache, dataset)
