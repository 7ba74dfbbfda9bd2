"""Tables of models."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import (
    BigInteger,
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
from nablahub.core.times import Moment


class ModelRow(Base):
    """A model."""

    __tablename__ = "models"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"), index=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str] = mapped_column(Text)
    latest: Mapped[str | None] = mapped_column(String(40))
    created_by: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)
    revision: Mapped[int] = mapped_column(Integer)


class ModelVersionRow(Base):
    """A version; made once, never changed. ``meta`` is JSON."""

    __tablename__ = "model_versions"
    __table_args__ = (
        UniqueConstraint("model_id", "number"),
        Index("ix_model_versions_model_id_created_at", "model_id", "created_at"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"))
    version: Mapped[str] = mapped_column(String(16))
    number: Mapped[int] = mapped_column(Integer)
    key: Mapped[str | None] = mapped_column(String(255), unique=True)
    dataset_id: Mapped[str] = mapped_column(String(32), index=True)
    dataset_version: Mapped[str] = mapped_column(ForeignKey("dataset_versions.id"))
    path: Mapped[str] = mapped_column(Text)
    format: Mapped[str] = mapped_column(String(32))
    files: Mapped[int] = mapped_column(BigInteger)
    size: Mapped[int] = mapped_column(BigInteger)
    meta: Mapped[str] = mapped_column(Text)
    message: Mapped[str] = mapped_column(Text)
    author: Mapped[str] = mapped_column(String(255))
    source: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(Moment)


def of_teams(team_ids: Iterable[str]) -> Select[ModelRow]:
    """Select the models of these teams."""
    return select(ModelRow).where(ModelRow.team_id.in_(sorted(team_ids)))


def versions_of(model_id: str) -> Select[ModelVersionRow]:
    """Select the versions of a model."""
    return select(ModelVersionRow).where(ModelVersionRow.model_id == model_id)


def next_number(session: Session, model_id: str) -> int:
    """Return the number of the model's next version."""
    query = select(func.max(ModelVersionRow.number)).where(ModelVersionRow.model_id == model_id)
    return (session.execute(query).scalar() or 0) + 1


def using_version(session: Session, version_id: str) -> list[tuple[str, str]]:
    """Return name and version of the models that have files of a dataset's version."""
    query = (
        select(ModelRow.name, ModelVersionRow.version)
        .join(ModelVersionRow, ModelVersionRow.model_id == ModelRow.id)
        .where(ModelVersionRow.dataset_version == version_id)
        .order_by(ModelRow.name, ModelVersionRow.number)
        .limit(20)
    )
    return [(name, version) for name, version in session.execute(query)]


def using_dataset(session: Session, dataset_id: str) -> list[tuple[str, str]]:
    """Return name and version of the models that have files of a dataset."""
    query = (
        select(ModelRow.name, ModelVersionRow.version)
        .join(ModelVersionRow, ModelVersionRow.model_id == ModelRow.id)
        .where(ModelVersionRow.dataset_id == dataset_id)
        .order_by(ModelRow.name, ModelVersionRow.number)
        .limit(20)
    )
    return [(name, version) for name, version in session.execute(query)]
