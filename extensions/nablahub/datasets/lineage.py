"""Where a version came from, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from nablahub.datasets.store import InputRow, VersionRow
from nablahub.datasets.types import Lineage

if TYPE_CHECKING:
    from nablahub.datasets.service import DatasetService


def of_version(session: Session, service: DatasetService, row: VersionRow) -> Lineage:
    """Return the lineage of a version, one step in both directions."""
    inputs = select(InputRow.input_id).where(InputRow.version_id == row.id)
    outputs = select(InputRow.version_id).where(InputRow.input_id == row.id)
    children = select(VersionRow.id).where(
        VersionRow.parent == row.id, VersionRow.deleted_at.is_(None)
    )
    return Lineage(
        source=row.source, parent=row.parent,
        inputs=sorted(session.scalars(inputs)),
        children=sorted(session.scalars(children)),
        outputs=sorted(session.scalars(outputs)),
        used_by=[what for guard in service.version_guards for what in guard(session, row.id)],
    )  # fmt: skip
