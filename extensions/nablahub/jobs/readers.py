"""Which trees of the cache are read by jobs: those are not taken away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from sqlalchemy.orm import Session

from nablahub.core.errors import NotFound
from nablahub.datasets.keeping import Reader
from nablahub.jobs.data import Materialiser
from nablahub.jobs.store import unfinished


def of_jobs(sources: Mapping[str, Materialiser], session: Session) -> Iterator[Reader]:
    """Yield what jobs that have not ended read: from their submission on, before they begin.

    Parameters
    ----------
    sources : mapping of str to Materialiser
        Who knows where versions lie, by the kind of input.
    session : Session
        Where to look.
    """
    places: dict[tuple[str, str], str | None] = {}
    for job in unfinished(session):
        for given in job.spec["inputs"]:
            kind, ref = given["kind"], given["ref"]
            if kind not in sources:
                continue
            if (kind, ref) not in places:
                places[kind, ref] = None
                with suppress(NotFound):  # Deleted since; then the job is refused when it starts.
                    places[kind, ref] = sources[kind].place(session, ref)
            place = places[kind, ref]
            if place is not None:
                yield Reader(place, f"{job.kind} {job.id} ({job.name})")
