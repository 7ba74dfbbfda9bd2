"""Where the traffic of a deployment goes, as its rows have it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.orm import Session

from nablahub.deployments.routes import Backend, Route
from nablahub.deployments.store import DeploymentRow, ServerRow, SpecRow, servers, spec
from nablahub.deployments.types import DeploymentSpec


def places(document: DeploymentSpec, *, several: bool) -> int:
    """Return how many servers a spec takes: one for each replica, or one that is all of them."""
    return min(1, document.wanted) if several else document.wanted


def canary_due(
    row: DeploymentRow, target: SpecRow, wanted: int, found: Sequence[ServerRow]
) -> bool:
    """Whether a version's servers are all ready and it waits for its first sample."""
    if row.deleted or wanted == 0 or target.verdict != "pending":
        return False
    if row.serving_version == row.spec_version:
        return False
    ready = [s for s in found if s.fingerprint == target.fingerprint and s.state == "ready"]
    return len(ready) >= wanted


def route_of(session: Session, row: DeploymentRow, *, several: bool) -> Route | None:
    """Return a deployment's route as its rows have it; None when it is being deleted.

    From a new version's first answer to its prober until it has answered on everybody's way, half
    of the traffic goes to it.
    """
    if row.deleted:
        return None
    found = servers(session, row.id)
    target = spec(session, row.id, row.spec_version)
    document = DeploymentSpec.model_validate_json(target.document)

    def backend(version: SpecRow) -> Backend:
        alike = [s for s in found if s.fingerprint == version.fingerprint and s.state == "ready"]
        return Backend(version.number, tuple(sorted(s.address for s in alike)))

    numbers = dict.fromkeys(n for n in (row.serving_version, row.previous_version) if n)
    versions = {v.fingerprint: v for v in (spec(session, row.id, n) for n in reversed(numbers))}
    main = tuple(backend(version) for version in versions.values())
    canary = None
    if canary_due(row, target, places(document, several=several), found):
        canary = backend(target)
    return Route(row.id, main, canary)
