"""The tokens that running jobs have: kept as hashes, bound to one job, good until its end."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Final, cast

from sqlalchemy import Table, delete, insert, select
from sqlalchemy.orm import Session

from nablahub.core.ids import new_secret
from nablahub.core.permissions import READ, WRITE, Principal
from nablahub.core.times import now
from nablahub.jobs.store import JobRow, RunTokenRow
from nablahub.jobs.tasks import GROUPS, time_limit
from nablahub.jobs.types import FINISHED

PREFIX: Final = "nhr_"
#: Of a job without a limit of its own.
LONGEST: Final = timedelta(days=30)
#: Of a server, which never ends by itself; when it is ended, its token is good for nothing.
SERVERS: Final = timedelta(days=3650)
_SLACK = timedelta(hours=1)

#: Without the unit of work, since each job comes by here.
_TOKENS = cast("Table", RunTokenRow.__table__)


def new() -> str:
    """Make a token; it is good for nothing before it is issued."""
    return new_secret(PREFIX)


def issue(session: Session, job: JobRow, token: str) -> None:
    """Bind a new token to a job; only its hash is kept."""
    at = now()
    limit = time_limit(job)
    endless = SERVERS if job.kind == "serve" else LONGEST
    life = timedelta(seconds=limit) + _SLACK if limit else endless
    fields = {"hash": digest(token), "job_id": job.id, "created_at": at, "expires_at": at + life}
    session.execute(insert(_TOKENS), fields)


def sweep(session: Session) -> None:
    """Forget the tokens of jobs that have ended; they are good for nothing since then."""
    ended = select(JobRow.id).where(JobRow.state.in_(sorted(FINISHED)))
    session.execute(delete(RunTokenRow).where(RunTokenRow.job_id.in_(ended)))


def principal(session: Session, token: str) -> Principal | None:
    """Return whom a token stands for; None when it is unknown, expired, or its job has ended."""
    row = session.get(RunTokenRow, digest(token))
    if row is None or row.expires_at <= now():
        return None
    job = session.get(JobRow, row.job_id)
    if job is None or job.finished:
        return None
    return Principal(
        name=job.created_by, kind="run", team_ids=frozenset({job.team_id}),
        scopes=frozenset({READ, WRITE}), job_id=job.id, project_id=job.project_id,
        groups=frozenset(job.spec.get(GROUPS, ())),
    )  # fmt: skip


def digest(token: str) -> str:
    """Return the hash a token is kept as; it has 256 random bits, so no salt is needed."""
    return hashlib.sha256(token.encode()).hexdigest()
