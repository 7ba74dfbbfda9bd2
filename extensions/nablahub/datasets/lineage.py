"""Where a version came from, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from nablahub.datasets.store import DatasetRow, InputRow, VersionRow
from nablahub.datasets.types import Lineage

if TYPE_CHECKING:
    from nablahub.datasets.service import DatasetService


def outputs_of(session: Session, row: VersionRow) -> Sequence[str]:
    """Return the ids of the versions that the same team made from a version.

    What others made of a public one is theirs to know, and keeps nothing from being deleted.
    """
    team = session.get_one(DatasetRow, row.dataset_id).team_id
    query = (
        select(InputRow.version_id)
        .join(VersionRow, VersionRow.id == InputRow.version_id)
        .join(DatasetRow, DatasetRow.id == VersionRow.dataset_id)
        .where(InputRow.input_id == row.id, DatasetRow.team_id == team)
    )
    return session.scalars(query).all()


def of_version(session: Session, service: DatasetService, row: VersionRow) -> Lineage:
    """Return the lineage of a version, one step in both directions."""
    inputs = select(InputRow.input_id).where(InputRow.version_id == row.id)
    children = select(VersionRow.id).where(
        VersionRow.parent == row.id, VersionRow.deleted_at.is_(None)
    )
    return Lineage(
        source=row.source, parent=row.parent,
        inputs=sorted(session.scalars(inputs)),
        children=sorted(session.scalars(children)),
        outputs=sorted(outputs_of(session, row)),
        used_by=[what for guard in service.version_guards for what in guard(session, row.id)],
    )  # fmt: skip
