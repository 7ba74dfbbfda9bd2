"""Beginning a job with the very transaction that stores it, when nothing stands in its way."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.orm import Session

from nablahub.core.database import after_commit, after_rollback
from nablahub.core.environments import resolve
from nablahub.core.instances import InstanceType
from nablahub.jobs import tokens
from nablahub.jobs.machinery import Machinery
from nablahub.jobs.mounting import mounts
from nablahub.jobs.rules import Change, move
from nablahub.jobs.store import JobRow
from nablahub.jobs.tasks import Tokens
from nablahub.jobs.types import JobSpec


def store(
    machinery: Machinery, session: Session, row: JobRow, spec: JobSpec, instance: InstanceType
) -> None:
    """Store a submitted job, ready to be started if it can be at once.

    One that must wait, for room, an environment or a bucket, stays as it was submitted; its steps
    see to it.
    """
    at_once = _take(machinery, session, row, spec, instance)
    if at_once:
        move(row, Change("Provisioned", boot=machinery.ground.boot))
    session.add(row)
    session.flush()
    if at_once:
        given = new_tokens(machinery)
        tokens.issue(session, row, given)
        after_commit(session, lambda: machinery.tasks.give(row, given))


def new_tokens(machinery: Machinery) -> Tokens:
    """Make the tokens of a job, those that the machinery's ground needs."""
    return tokens.new(delivered=machinery.ground.receiving is not None)


def missing(machinery: Machinery, spec: JobSpec) -> Iterator[str]:
    """Yield the environments that must be built before a job can begin."""
    if machinery.ground.images is not None:
        return  # They are in images, built by others.
    for name in (*spec.tools, resolve(spec.environment)):
        if name is not None and machinery.layout.environments.find(name) is None:
            yield name


def _take(
    machinery: Machinery, session: Session, row: JobRow, spec: JobSpec, instance: InstanceType
) -> bool:
    """Take the room a job needs, until its transaction is undone; False when it must wait."""
    reconciler, capacity = machinery.context.reconciler, machinery.capacity
    # Those of several nodes begin one after the other.
    mounting = machinery.mounts.ahead and mounts(row)
    later = spec.nodes > 1 or mounting or not reconciler.leads
    if later or any(missing(machinery, spec)):
        return False
    if not capacity.take_now(row.id, row.kind, instance):
        return False

    def give_back() -> None:
        waiting = capacity.release(row.id)
        if waiting is not None:
            reconciler.wake_now("job", waiting)

    after_rollback(session, give_back)
    return True
