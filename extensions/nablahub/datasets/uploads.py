"""Building a version: begin, find out what is missing, take it in, commit; or cancel.

The order that makes a crash harmless: bytes first, then the row that counts them, last the row
of the version. Whatever has no row is not there for anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from itertools import batched
from typing import Final

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from nablahub.core.ids import new_id
from nablahub.core.objects import ObjectStore
from nablahub.core.times import now
from nablahub.datasets.errors import (
    NoSuchDataset,
    NoSuchUpload,
    UploadLost,
)
from nablahub.datasets.lacking import Check
from nablahub.datasets.layout import manifest_key, object_key, pack_key
from nablahub.datasets.manifests import Written
from nablahub.datasets.quota import Quota
from nablahub.datasets.store import (
    ChangeRow,
    DamageRow,
    DatasetRow,
    GarbageRow,
    InputRow,
    LinkRow,
    ObjectRow,
    PackRow,
    TransferRow,
    UploadRow,
    VersionRow,
    is_stored,
    next_number,
    objects_of,
    pack_moment,
)

#: In place of the md5 of a DVC tree that has not been derived yet.
NOT_YET: Final = ""
#: An upload that nothing was added to for so long is given up.
KEPT: Final = timedelta(days=7)


@dataclass(frozen=True)
class Origin:
    """Who made a version, and how."""

    author: str
    source: str = "upload"
    message: str = ""
    key: str | None = None
    #: Ids of the versions of datasets that it was made from.
    inputs: tuple[str, ...] = ()


class LatestMoved(Exception):
    """Another version was committed since the caller looked; it looks again."""


def expect_latest(session: Session, dataset_id: str, version_id: str | None) -> None:
    """Raise LatestMoved unless that is a dataset's latest version."""
    dataset = session.get(DatasetRow, dataset_id)
    if dataset is not None and dataset.latest != version_id:
        raise LatestMoved


def begin(session: Session, dataset: DatasetRow, origin: Origin) -> UploadRow:
    """Begin a version of a dataset; a draft of it begins with the latest one."""
    version = new_id("version")
    at = now()
    row = UploadRow(
        id=f"{dataset.id}:{version}", dataset_id=dataset.id, version=version,
        message=origin.message, author=origin.author, source=origin.source,
        created_at=at, touched_at=at, base=dataset.latest, inputs="\n".join(origin.inputs),
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def register_pack(
    session: Session,
    store: ObjectStore,
    upload: UploadRow,
    row: PackRow,
    quota: Quota,
    multipart: str = "",
) -> None:
    """Count a pack that has been stored.

    Parameters
    ----------
    multipart : str
        What was proved of a client's transfer; empty: the service stored it by itself.

    Raises
    ------
    DatasetQuota
        When the team would have too much; the caller then deletes the pack.
    UploadLost
        When the pack was deleted meanwhile by whoever cancelled an upload that had it too.
    NoSuchUpload
        When the upload was cancelled, or its dataset deleted.
    """
    touch(session, upload)  # First: without its dataset no row could be added.
    if session.get(PackRow, (row.dataset_id, row.pack)) is None:
        key = pack_key(row.dataset_id, row.pack)
        _check_stored(session, store, row.team_id, key, row.size, multipart)
        quota.check(session, row.size)
        row.created_at = pack_moment(session, row.dataset_id)
        session.add(row)


def register_object(
    session: Session,
    store: ObjectStore,
    upload: UploadRow,
    row: ObjectRow,
    quota: Quota,
    multipart: str = "",
) -> None:
    """Count a large object that has been stored; raises as :func:`register_pack`, and OtherBytes.

    It is OtherBytes that others count under its md5.
    """
    touch(session, upload)
    if not is_stored(session, row.team_id, row.md5, row.sha256, row.size):
        _check_stored(session, store, row.team_id, object_key(row.md5), row.size, multipart)
        quota.check(session, row.size)
        session.add(row)
    if session.get(LinkRow, (upload.dataset_id, row.md5)) is None:
        session.add(
            LinkRow(
                dataset_id=upload.dataset_id, md5=row.md5, team_id=row.team_id, upload_id=upload.id
            )
        )


def _check_stored(
    session: Session, store: ObjectStore, space: str, key: str, size: int, multipart: str
) -> None:
    """Raise UploadLost when bytes are gone since they were stored.

    Elsewhere than on this machine, asking would keep everybody waiting: there a row says that they
    are on their way, and what has one is never deleted.
    """
    if store.local(key) is not None:
        if store.size(key) != size:
            raise UploadLost
        return
    transfer = session.get(TransferRow, (space, key))
    if transfer is None or (multipart and transfer.multipart != multipart):
        raise UploadLost  # Or somebody has begun to send it anew since.
    session.delete(transfer)


def mend(session: Session, space: str, dataset_id: str, md5s: Iterable[str]) -> None:
    """Note that objects are whole again; ``dataset_id`` is empty for large ones."""
    for names in batched(md5s, 500):
        session.execute(
            delete(DamageRow).where(
                DamageRow.team_id == space,
                DamageRow.dataset_id == dataset_id,
                DamageRow.md5.in_(names),
            )
        )


def find(session: Session, dataset: DatasetRow, ref: str) -> UploadRow:
    """Return an open upload by its 7 characters or its whole id; NoSuchUpload if it is not."""
    name = ref.removeprefix(f"{dataset.id}:")
    row = session.get(UploadRow, f"{dataset.id}:{name}")
    if row is None:
        raise NoSuchUpload(ref)
    return row


def find_or_made(session: Session, dataset: DatasetRow, ref: str) -> UploadRow | VersionRow:
    """Return the version that was made of an upload, or the upload while there is none."""
    name = ref.removeprefix(f"{dataset.id}:")
    return session.get(VersionRow, f"{dataset.id}:{name}") or find(session, dataset, ref)


def touch(session: Session, upload: UploadRow) -> None:
    """Say that an upload is alive; NoSuchUpload when it has been cancelled."""
    found = session.execute(
        update(UploadRow).where(UploadRow.id == upload.id).values(touched_at=now())
    )
    if not found.rowcount:  # type: ignore[attr-defined]  # an UPDATE's result has it
        raise NoSuchUpload(upload.id)


def finish(
    session: Session,
    upload: UploadRow,
    check: Check,
    written: Written,
    key: str | None,
    base: VersionRow | None = None,
) -> VersionRow:
    """Make the version, in the transaction that ends its upload.

    Parameters
    ----------
    base : VersionRow or None
        The version whose pages it shares.

    Raises
    ------
    UploadLost
        When bytes were deleted since they were checked.
    """
    dataset = session.get(DatasetRow, upload.dataset_id)
    if dataset is None:
        raise NoSuchDataset(upload.dataset_id)
    if session.get(UploadRow, upload.id) is None:
        raise NoSuchUpload(upload.id)
    if base is not None and not _is_there(session, base.id):
        raise UploadLost
    _keep_packs(session, dataset.id, check.packs)
    _keep_large(session, dataset, check.large)
    at = now()
    row = VersionRow(
        id=upload.id, dataset_id=dataset.id, version=upload.version,
        number=next_number(session, dataset.id), key=key, message=upload.message,
        author=upload.author, source=upload.source, files=written.root.files,
        size=written.root.size, digest=written.root.digest,
        dvc_md5=written.dir_object.md5 if written.dir_object else NOT_YET,
        dvc_size=written.dir_object.size if written.dir_object else 0, created_at=at,
    )  # fmt: skip
    row.parent = dataset.latest
    session.add(row)
    for name in dict.fromkeys(upload.inputs.split("\n")):
        if session.get(VersionRow, name) is not None:
            session.add(InputRow(version_id=row.id, input_id=name))
    session.flush()
    session.execute(
        delete(TransferRow).where(
            TransferRow.team_id == dataset.space,
            TransferRow.key == manifest_key(dataset.id, upload.version),
        )
    )
    end(session, dataset.space, upload)
    dataset.latest = row.id
    dataset.updated_at = at
    dataset.revision += 1
    return row


def _is_there(session: Session, version_id: str) -> bool:
    """Whether a version is there and nobody is about to take its bytes away."""
    row = session.get(VersionRow, version_id)
    return row is not None and row.purge_at is None


def _keep_packs(session: Session, dataset_id: str, packs: set[str]) -> None:
    for names in batched(sorted(packs), 500):
        kept = session.execute(
            update(PackRow)
            .where(PackRow.dataset_id == dataset_id, PackRow.pack.in_(names))
            .values(upload_id=None)
        )
        if kept.rowcount != len(names):  # type: ignore[attr-defined]  # an UPDATE's result has it
            raise UploadLost


def _keep_large(session: Session, dataset: DatasetRow, md5s: set[str]) -> None:
    ordered = sorted(md5s)
    if len(objects_of(session, dataset.space, ordered)) != len(ordered):
        raise UploadLost
    for names in batched(ordered, 500):
        query = select(LinkRow).where(LinkRow.dataset_id == dataset.id, LinkRow.md5.in_(names))
        linked = {row.md5: row for row in session.scalars(query)}
        for md5 in names:
            if md5 in linked:
                linked[md5].upload_id = None
            else:
                session.add(
                    LinkRow(dataset_id=dataset.id, md5=md5, team_id=dataset.space, upload_id=None)
                )
    session.flush()


def end(session: Session, team_id: str, upload: UploadRow) -> None:
    """Forget an upload and whatever came with it that no version uses.

    What came with it may be what another upload was told not to send: then it is that one's now.
    """
    heir = session.scalars(
        select(UploadRow.id)
        .where(UploadRow.dataset_id == upload.dataset_id, UploadRow.id != upload.id)
        .order_by(UploadRow.touched_at.desc())
        .limit(1)
    ).first()
    if heir is not None:
        for owned in (PackRow, LinkRow):
            session.execute(
                update(owned).where(owned.upload_id == upload.id).values(upload_id=heir)
            )
    packs = session.scalars(select(PackRow).where(PackRow.upload_id == upload.id)).all()
    for pack in packs:
        name = pack_key(pack.dataset_id, pack.pack)
        session.add(GarbageRow(team_id=team_id, kind="pack", name=name))
        session.delete(pack)
    links = session.scalars(select(LinkRow).where(LinkRow.upload_id == upload.id)).all()
    for link in links:
        session.delete(link)
    session.flush()
    drop_unlinked(session, team_id, [link.md5 for link in links])
    session.add(GarbageRow(team_id=team_id, kind="parts", name=upload.dataset_id))
    session.execute(
        update(TransferRow).where(TransferRow.upload_id == upload.id).values(upload_id=heir)
    )
    session.execute(delete(ChangeRow).where(ChangeRow.upload_id == upload.id))
    session.execute(delete(UploadRow).where(UploadRow.id == upload.id))


def drop_unlinked(session: Session, team_id: str, md5s: Iterable[str]) -> None:
    """Forget those of a team's large objects that no dataset refers to any more."""
    for names in batched(sorted(set(md5s)), 500):
        query = select(LinkRow.md5).where(LinkRow.team_id == team_id, LinkRow.md5.in_(names))
        used = set(session.scalars(query))
        for md5 in names:
            if md5 not in used:
                session.execute(
                    delete(ObjectRow).where(ObjectRow.team_id == team_id, ObjectRow.md5 == md5)
                )
                name = object_key(md5)
                session.add(GarbageRow(team_id=team_id, kind="object", name=name))
    session.flush()


def end_stale(session: Session, tell: Callable[[Session, str], None]) -> None:
    """End the uploads that were given up, and tell in which spaces."""
    query = select(UploadRow).where(UploadRow.touched_at < now() - KEPT)
    for upload in session.scalars(query).all():
        dataset = session.get_one(DatasetRow, upload.dataset_id)
        end(session, dataset.space, upload)
        tell(session, dataset.space)
