"""Tables of datasets and their queries.

There is no row for each file or small object: these are in manifests and packs. Rows exist for
what is counted, shared or deleted by itself.

``team_id`` of packs, objects, links, garbage and transfers is the *space* that their bytes lie in:
the id of a team for its part of the hub's own store, or that of a storage provider.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import (
    BigInteger,
    Boolean,
    ForeignKey,
    Index,
    Integer,
    Select,
    String,
    Text,
    UniqueConstraint,
    func,
    select,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from nablahub.core.database import Base
from nablahub.core.times import Moment, now
from nablahub.datasets.errors import OtherBytes
from nablahub.teams.store import TeamRow


class DatasetRow(Base):
    """A dataset."""

    __tablename__ = "datasets"
    __table_args__ = (UniqueConstraint("team_id", "name"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"))
    project_id: Mapped[str | None] = mapped_column(ForeignKey("projects.id"), index=True)
    provider_id: Mapped[str | None] = mapped_column(String(32), index=True)
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str] = mapped_column(Text)
    latest: Mapped[str | None] = mapped_column(String(40))
    created_by: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)
    revision: Mapped[int] = mapped_column(Integer)
    public: Mapped[bool] = mapped_column(Boolean, default=False)

    @property
    def space(self) -> str:
        """Where its bytes lie: in a storage provider, else in its team's part of the store."""
        return self.provider_id or self.team_id


class VersionRow(Base):
    """A committed version; its files never change.

    One that was deleted has ``deleted_at`` and is not there for anybody; its bytes stay until
    ``purge_at``, which a collection of garbage sets. The row of one that was purged stays as long
    as its manifest holds pages of others.
    """

    __tablename__ = "dataset_versions"
    __table_args__ = (
        UniqueConstraint("dataset_id", "number"),
        Index("ix_dataset_versions_dataset_id_created_at", "dataset_id", "created_at"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    version: Mapped[str] = mapped_column(String(16))
    number: Mapped[int] = mapped_column(Integer)
    key: Mapped[str | None] = mapped_column(String(255), unique=True)
    message: Mapped[str] = mapped_column(Text)
    author: Mapped[str] = mapped_column(String(255))
    source: Mapped[str] = mapped_column(String(255))
    files: Mapped[int] = mapped_column(BigInteger)
    size: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[str] = mapped_column(String(64))
    dvc_md5: Mapped[str] = mapped_column(String(32), index=True)
    dvc_size: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(Moment)
    parent: Mapped[str | None] = mapped_column(String(40), index=True)
    deleted_at: Mapped[datetime | None] = mapped_column(Moment)
    purge_at: Mapped[datetime | None] = mapped_column(Moment)
    purged_at: Mapped[datetime | None] = mapped_column(Moment)


class UploadRow(Base):
    """A version that is being built. Its id is the version's, known before it exists."""

    __tablename__ = "dataset_uploads"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    version: Mapped[str] = mapped_column(String(16))
    message: Mapped[str] = mapped_column(Text)
    author: Mapped[str] = mapped_column(String(255))
    source: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(Moment)
    touched_at: Mapped[datetime] = mapped_column(Moment)
    base: Mapped[str | None] = mapped_column(String(40))
    inputs: Mapped[str] = mapped_column(Text, default="")


class ChangeRow(Base):
    """A file that a draft puts, or drops when there is no md5."""

    __tablename__ = "dataset_changes"

    upload_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    path: Mapped[str] = mapped_column(String(2048), primary_key=True)
    kind: Mapped[str | None] = mapped_column(String(1))
    size: Mapped[int | None] = mapped_column(BigInteger)
    md5: Mapped[str | None] = mapped_column(String(32))
    sha256: Mapped[str | None] = mapped_column(String(64))


class TagRow(Base):
    """A name that stands for a version until it is moved."""

    __tablename__ = "dataset_tags"

    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    version_id: Mapped[str] = mapped_column(String(40), index=True)
    set_by: Mapped[str] = mapped_column(String(255))
    set_at: Mapped[datetime] = mapped_column(Moment)


class InputRow(Base):
    """A version that another was made from."""

    __tablename__ = "dataset_inputs"

    version_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    input_id: Mapped[str] = mapped_column(String(40), primary_key=True, index=True)


class PackRow(Base):
    """A pack of small objects; ``upload_id`` is set until a version uses it."""

    __tablename__ = "dataset_packs"
    __table_args__ = (Index("ix_dataset_packs_team_id_size", "team_id", "size"),)

    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), primary_key=True)
    pack: Mapped[str] = mapped_column(String(64), primary_key=True)
    team_id: Mapped[str] = mapped_column(String(32))
    size: Mapped[int] = mapped_column(BigInteger)
    count: Mapped[int] = mapped_column(Integer)
    upload_id: Mapped[str | None] = mapped_column(String(40), index=True)
    created_at: Mapped[datetime] = mapped_column(Moment)


class ObjectRow(Base):
    """A large object of a team."""

    __tablename__ = "dataset_objects"
    __table_args__ = (Index("ix_dataset_objects_team_id_size", "team_id", "size"),)

    team_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    md5: Mapped[str] = mapped_column(String(32), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(Moment)


class LinkRow(Base):
    """A dataset that refers to a large object; ``upload_id`` is set until a version does."""

    __tablename__ = "dataset_links"
    __table_args__ = (Index("ix_dataset_links_team_id_md5", "team_id", "md5"),)

    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), primary_key=True)
    md5: Mapped[str] = mapped_column(String(32), primary_key=True)
    team_id: Mapped[str] = mapped_column(String(32))
    upload_id: Mapped[str | None] = mapped_column(String(40), index=True)


class GarbageRow(Base):
    """Something in the store that no row refers to any more; written with the deletion.

    ``kind`` is ``dataset`` (all it has), ``pack``, ``parts``, ``manifest`` or ``object``; ``name``
    is the key. What is ``doomed`` is being deleted just now, or was when the service died.
    ``multipart`` is an upload in parts that is given up with it.
    """

    __tablename__ = "dataset_garbage"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    team_id: Mapped[str] = mapped_column(String(32), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(255))
    doomed: Mapped[bool] = mapped_column(Boolean, default=False)
    multipart: Mapped[str] = mapped_column(Text, default="")


class TransferRow(Base):
    """An object that is on its way into an S3; written before its first byte leaves.

    ``multipart`` is the S3's name of an upload whose parts a client sends by itself; empty when
    the service sends the object. ``upload_id`` is None when the version's upload has ended.
    """

    __tablename__ = "dataset_transfers"

    team_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    upload_id: Mapped[str | None] = mapped_column(String(40), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    multipart: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    part_size: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(Moment)


class DamageRow(Base):
    """An object whose stored bytes are wrong or gone; whoever has it may send it again.

    ``dataset_id`` is that of the dataset whose pack had it, empty for a large object.
    """

    __tablename__ = "dataset_damage"

    team_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    dataset_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    md5: Mapped[str] = mapped_column(String(32), primary_key=True)


def damaged(session: Session, space: str, dataset_id: str) -> set[str]:
    """Return the md5s of the damaged objects that a dataset may have."""
    query = select(DamageRow.md5).where(
        DamageRow.team_id == space, DamageRow.dataset_id.in_(["", dataset_id])
    )
    return set(session.scalars(query))


def of_teams(team_ids: Iterable[str]) -> Select[DatasetRow]:
    """Select the datasets of these teams."""
    return select(DatasetRow).where(DatasetRow.team_id.in_(sorted(team_ids)))


def by_name(session: Session, team_ids: Iterable[str], name: str) -> Sequence[DatasetRow]:
    """Return the datasets of a name in these teams."""
    return session.scalars(of_teams(team_ids).where(DatasetRow.name == name)).all()


def in_team(session: Session, team: str, name: str, team_ids: Iterable[str]) -> DatasetRow | None:
    """Return the dataset of a name in the team of a name, if it is public or one of these teams'.

    A user and a group may have the same name; theirs comes first.
    """
    mine = DatasetRow.team_id.in_(sorted(team_ids))
    query = select(DatasetRow).join(TeamRow, TeamRow.id == DatasetRow.team_id)
    query = query.where(TeamRow.name == team, DatasetRow.name == name)
    return session.scalars(query.where(DatasetRow.public | mine).order_by(mine.desc())).first()


def versions_of(dataset_id: str) -> Select[VersionRow]:
    """Select the versions of a dataset that are not deleted."""
    return select(VersionRow).where(
        VersionRow.dataset_id == dataset_id, VersionRow.deleted_at.is_(None)
    )


def tags_of(session: Session, dataset_id: str) -> Sequence[TagRow]:
    """Return a dataset's tags by name."""
    return session.scalars(
        select(TagRow).where(TagRow.dataset_id == dataset_id).order_by(TagRow.name)
    ).all()


def by_key(session: Session, key: str | None) -> VersionRow | None:
    """Return the version that was made under a key."""
    if key is None:
        return None
    return session.scalars(select(VersionRow).where(VersionRow.key == key)).first()


def changes_of(session: Session, upload_id: str) -> Sequence[ChangeRow]:
    """Return what a draft changes, by path."""
    return session.scalars(
        select(ChangeRow).where(ChangeRow.upload_id == upload_id).order_by(ChangeRow.path)
    ).all()


def condemned(session: Session) -> Sequence[str]:
    """Return the datasets that have deleted versions whose bytes are to go."""
    query = (
        select(VersionRow.dataset_id)
        .where(VersionRow.purge_at.is_not(None), VersionRow.purged_at.is_(None))
        .distinct()
    )
    return session.scalars(query).all()


def used_spaces(session: Session) -> Sequence[str]:
    """Return the spaces that hold anything of datasets."""
    found: set[str] = set()
    for column in (PackRow.team_id, ObjectRow.team_id, TransferRow.team_id):
        found.update(session.scalars(select(column).distinct()))
    return sorted(found)


def underived(session: Session) -> Sequence[str]:
    """Return the versions of which nobody knows yet what DVC calls their tree."""
    return session.scalars(
        select(VersionRow.id).where(VersionRow.dvc_md5 == "", VersionRow.purged_at.is_(None))
    ).all()


def pack_names(session: Session, dataset_id: str, *, committed: bool = False) -> list[str]:
    """Return the names of a dataset's packs, or of those that a version uses, oldest first."""
    query = select(PackRow.pack).where(PackRow.dataset_id == dataset_id)
    if committed:
        query = query.where(PackRow.upload_id.is_(None))
    return list(session.scalars(query.order_by(PackRow.created_at, PackRow.pack)))


def pack_moment(session: Session, dataset_id: str) -> datetime:
    """Return when a dataset gets a pack now: after all of its packs, wherever the clock stands.

    What several packs hold counts as the newest has it, which restores what another one has lost.
    """
    query = select(func.max(PackRow.created_at)).where(PackRow.dataset_id == dataset_id)
    newest, at = session.execute(query).scalar(), now()
    return at if newest is None or newest < at else newest + timedelta(microseconds=1)


def used_bytes(session: Session, team_id: str) -> int:
    """Return how many bytes a team's objects take, uncommitted ones included."""
    packs = select(func.coalesce(func.sum(PackRow.size), 0)).where(PackRow.team_id == team_id)
    large = select(func.coalesce(func.sum(ObjectRow.size), 0)).where(ObjectRow.team_id == team_id)
    return int(session.execute(packs).scalar_one()) + int(session.execute(large).scalar_one())


def next_number(session: Session, dataset_id: str) -> int:
    """Return the number of the dataset's next version."""
    query = select(func.max(VersionRow.number)).where(VersionRow.dataset_id == dataset_id)
    return (session.execute(query).scalar() or 0) + 1


def is_stored(session: Session, space: str, md5: str, sha256: str, size: int) -> bool:
    """Tell whether a large object counts; OtherBytes when another one does under its md5."""
    row = session.get(ObjectRow, (space, md5))
    if row is not None and (row.sha256, row.size) != (sha256, size):
        raise OtherBytes(md5)
    return row is not None


def objects_of(session: Session, team_id: str, md5s: Sequence[str]) -> dict[str, ObjectRow]:
    """Return those of a team's large objects that have one of these md5s."""
    found: dict[str, ObjectRow] = {}
    for start in range(0, len(md5s), 500):
        query = select(ObjectRow).where(
            ObjectRow.team_id == team_id, ObjectRow.md5.in_(md5s[start : start + 500])
        )
        found.update((row.md5, row) for row in session.scalars(query))
    return found
