"""Tables of deployments, their specs, servers and keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import (
    Boolean,
    ForeignKey,
    Integer,
    Select,
    String,
    Text,
    UniqueConstraint,
    select,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from nablahub.core.database import Base
from nablahub.core.times import Moment


class DeploymentRow(Base):
    """A deployment: what is wanted (``spec_version``) and what is (the rest)."""

    __tablename__ = "deployments"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"), index=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    name: Mapped[str] = mapped_column(String(255))
    spec_version: Mapped[int] = mapped_column(Integer)
    #: The version that traffic goes to, and the one it came from until the new one is proved.
    serving_version: Mapped[int | None] = mapped_column(Integer)
    previous_version: Mapped[int | None] = mapped_column(Integer)
    deleted: Mapped[bool] = mapped_column(Boolean)
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(String(32))
    message: Mapped[str] = mapped_column(Text)
    ready_replicas: Mapped[int] = mapped_column(Integer)
    created_by: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)
    revision: Mapped[int] = mapped_column(Integer)


class SpecRow(Base):
    """A version of a spec. It never changes, but for what came of it.

    ``fingerprint`` names what its servers are made from: versions that differ only in the number
    of replicas share them. ``verdict``: ``pending`` (not tried yet), ``proved`` (a sample was
    answered on the way that only the prober takes), ``healthy`` (on everybody's way, too),
    ``failed``.
    """

    __tablename__ = "deployment_specs"

    deployment_id: Mapped[str] = mapped_column(
        ForeignKey("deployments.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    document: Mapped[str] = mapped_column(Text)
    model_ref: Mapped[str] = mapped_column(String(64))
    engine: Mapped[str] = mapped_column(String(16))
    fingerprint: Mapped[str] = mapped_column(String(16))
    verdict: Mapped[str] = mapped_column(String(16))
    message: Mapped[str] = mapped_column(Text)
    sample: Mapped[str | None] = mapped_column(Text)
    probing_since: Mapped[datetime | None] = mapped_column(Moment)
    created_by: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(Moment)


class ServerRow(Base):
    """One replica's place; its job is named by deployment, fingerprint, replica and attempt.

    ``state``: ``starting``, ``ready`` (answers, gets traffic), ``draining`` (gets none any more),
    ``gone`` (its job has ended).
    """

    __tablename__ = "deployment_servers"

    deployment_id: Mapped[str] = mapped_column(
        ForeignKey("deployments.id", ondelete="CASCADE"), primary_key=True
    )
    fingerprint: Mapped[str] = mapped_column(String(16), primary_key=True)
    replica: Mapped[int] = mapped_column(Integer, primary_key=True)
    attempt: Mapped[int] = mapped_column(Integer)
    failures: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(16))
    job_id: Mapped[str] = mapped_column(String(32))
    address: Mapped[str] = mapped_column(String(64))
    message: Mapped[str] = mapped_column(Text)
    #: When it began to be what it is, and when to act on it next (drain, start again).
    since: Mapped[datetime] = mapped_column(Moment)
    due: Mapped[datetime | None] = mapped_column(Moment)


class KeyRow(Base):
    """An API key, as a hash."""

    __tablename__ = "deployment_keys"
    __table_args__ = (UniqueConstraint("deployment_id", "request"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    deployment_id: Mapped[str] = mapped_column(ForeignKey("deployments.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(255))
    prefix: Mapped[str] = mapped_column(String(16))
    sha256: Mapped[str] = mapped_column(String(64))
    #: Hash of who asked and their Idempotency-Key; empty keys get a random one.
    request: Mapped[str] = mapped_column(String(64))
    created_by: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime | None] = mapped_column(Moment)


def of_teams(
    team_ids: Iterable[str], project_id: str | None = None, name: str | None = None
) -> Select[DeploymentRow]:
    """Select the deployments of these teams that are not being deleted."""
    query = select(DeploymentRow).where(
        DeploymentRow.team_id.in_(sorted(team_ids)), DeploymentRow.deleted.is_(False)
    )
    if project_id is not None:
        query = query.where(DeploymentRow.project_id == project_id)
    return query if name is None else query.where(DeploymentRow.name == name)


def spec(session: Session, deployment_id: str, number: int) -> SpecRow:
    """Return a version that is known to be there."""
    return session.get_one(SpecRow, (deployment_id, number))


def specs(deployment_id: str) -> Select[SpecRow]:
    """Select a deployment's spec versions."""
    return select(SpecRow).where(SpecRow.deployment_id == deployment_id)


def servers(session: Session, deployment_id: str) -> Sequence[ServerRow]:
    """Return a deployment's servers, those that have gone too."""
    return session.scalars(
        select(ServerRow)
        .where(ServerRow.deployment_id == deployment_id)
        .order_by(ServerRow.fingerprint, ServerRow.replica)
    ).all()


def keys(deployment_id: str) -> Select[KeyRow]:
    """Select a deployment's keys."""
    return select(KeyRow).where(KeyRow.deployment_id == deployment_id)
