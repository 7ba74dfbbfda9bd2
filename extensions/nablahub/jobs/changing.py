"""Storing a change of a job, and telling of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import CursorResult, Table, bindparam, update
from sqlalchemy.orm import Session

from nablahub.core.context import Context
from nablahub.core.database import after_commit
from nablahub.core.events import Event
from nablahub.core.times import now
from nablahub.jobs.rules import Change, move
from nablahub.jobs.store import JobRow

#: Told a job's row after each change of it.
Changed = Callable[[JobRow], None]

_JOBS = cast("Table", JobRow.__table__)
_COLUMNS = [column.name for column in _JOBS.columns]
_ADVANCE = update(_JOBS).where(
    (_JOBS.c.id == bindparam("its_id")) & (_JOBS.c.revision == bindparam("its_revision"))
)


def advance(session: Session, job: JobRow, change: Change | None, **fields: Any) -> JobRow | None:
    """Store a change of a job as it was read before; the row as it is now.

    It costs one statement: a job that begins and ends at once is stored three times.

    Parameters
    ----------
    job : JobRow
        As it was read, by whatever session.
    change : Change or None
        Of its state; the rules must allow it.
    **fields
        Other columns and their values.

    Returns
    -------
    JobRow or None
        None when somebody changed it since it was read: read it again.

    Raises
    ------
    TransitionRefused
        A rule objects.
    """
    row = JobRow(**{name: getattr(job, name) for name in _COLUMNS})
    if change is not None:
        move(row, change)
        fields |= {"state": row.state, "reason": row.reason, "boot": row.boot}
    fields |= {"revision": job.revision + 1, "updated_at": now()}
    for name, value in fields.items():
        setattr(row, name, value)
    its = {"its_id": job.id, "its_revision": job.revision}
    done = cast("CursorResult[Any]", session.execute(_ADVANCE, fields | its))
    return row if done.rowcount else None


def announce(context: Context, session: Session, row: JobRow, changed: Changed) -> None:
    """Tell listeners, the job's owner and those that wait of a change, after the commit."""
    data = {"name": row.name, "state": row.state, "reason": row.reason}
    kind = "created" if row.revision == 1 else "changed"
    context.events.emit(session, Event("job", row.id, kind, row.team_id, row.project_id, data))
    if row.owner_kind is not None and row.owner_id is not None and row.revision > 1:
        context.reconciler.wake(session, row.owner_kind, row.owner_id)
    after_commit(session, lambda: changed(row))
