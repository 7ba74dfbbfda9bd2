"""Tags: names of versions that can be moved, each in one step."""

from __future__ import annotations

import re
from typing import Final

from sqlalchemy.orm import Session

from nablahub.core.errors import Fault, Invalid
from nablahub.core.times import now
from nablahub.datasets.errors import NoSuchTag, TagMoved
from nablahub.datasets.paths import show
from nablahub.datasets.store import DatasetRow, TagRow, VersionRow, tags_of
from nablahub.datasets.types import Tag

TAG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def wire(row: TagRow) -> Tag:
    """Return a tag as clients see it."""
    return Tag(
        name=row.name, version=row.version_id.rpartition(":")[2], ref=row.version_id,
        set_by=row.set_by, set_at=row.set_at,
    )  # fmt: skip


def all_of(session: Session, dataset: DatasetRow) -> list[Tag]:
    """Return a dataset's tags."""
    return [wire(row) for row in tags_of(session, dataset.id)]


def put(
    session: Session,
    dataset: DatasetRow,
    name: str,
    version: VersionRow,
    who: str,
    expected: str | None,
) -> Tag:
    """Set or move a tag.

    Raises
    ------
    Invalid
        When the name means something else already.
    TagMoved
        When the tag does not stand for the version that was expected.
    """
    if not TAG.fullmatch(name):
        problem = f"'{show(name)}' can't be a tag: letters, digits, '.', '_' and '-', at most 100."
        raise Invalid(problem, errors=[Fault(problem, "/tag", hint="Choose another name.")])
    taken = name == "latest" or session.get(VersionRow, f"{dataset.id}:{name}") is not None
    if taken:
        problem = f"'{name}' is the name of a version already."
        raise Invalid(problem, errors=[Fault(problem, "/tag", hint="Choose another name.")])
    row = session.get(TagRow, (dataset.id, name))
    at = row.version_id.rpartition(":")[2] if row else ""
    if expected is not None and at != expected:
        raise TagMoved(
            f"The tag '{name}' of '{dataset.name}' stands for {at or 'nothing'} now, not for "
            f"{expected or 'nothing'}.",
            hint="Look at it again, then decide whether to move it.",
        )
    if row is None:
        row = TagRow(dataset_id=dataset.id, name=name)
        session.add(row)
    row.version_id, row.set_by, row.set_at = version.id, who, now()
    session.flush()
    return wire(row)


def remove(session: Session, dataset: DatasetRow, name: str) -> None:
    """Delete a tag; NoSuchTag when there is none."""
    row = session.get(TagRow, (dataset.id, name))
    if row is None:
        raise NoSuchTag(
            f"'{dataset.name}' has no tag '{name}'.",
            hint=f"`nablahub datasets tag {dataset.name}` shows those there are.",
        )
    session.delete(row)


def target(session: Session, dataset: DatasetRow, name: str) -> VersionRow | None:
    """Return the version that a tag stands for."""
    row = session.get(TagRow, (dataset.id, name))
    return None if row is None else session.get(VersionRow, row.version_id)
