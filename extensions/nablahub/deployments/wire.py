"""Deployments and their specs as clients see them."""

from __future__ import annotations

import json
from typing import cast

from sqlalchemy.orm import Session

from nablahub.deployments.routes import endpoint
from nablahub.deployments.store import DeploymentRow, SpecRow, spec
from nablahub.deployments.types import (
    Deployment,
    DeploymentSpec,
    Engine,
    SpecVersion,
    State,
    Verdict,
)


def as_wire(session: Session, row: DeploymentRow, public_url: str) -> Deployment:
    """Return a deployment as clients see it."""
    wanted = spec(session, row.id, row.spec_version)
    document = DeploymentSpec.model_validate_json(wanted.document)
    shown = wanted
    if row.serving_version is not None:
        shown = spec(session, row.id, row.serving_version)
    sample = document.sample if shown.sample is None else json.loads(shown.sample)
    return Deployment(
        id=row.id, name=row.name, project_id=row.project_id, team_id=row.team_id,
        state=cast("State", row.state), reason=row.reason, message=row.message,
        model_ref=shown.model_ref, model_name=row.name, engine=cast("Engine", shown.engine),
        instance_type=document.instance_type,
        replicas=document.replicas, ready_replicas=row.ready_replicas,
        enabled=document.enabled, endpoint=endpoint(public_url, row.id),
        spec=document, spec_version=row.spec_version, serving_version=row.serving_version,
        sample=sample, created_by=row.created_by, created_at=row.created_at,
        updated_at=row.updated_at, revision=row.revision,
    )  # fmt: skip


def spec_as_wire(row: SpecRow) -> SpecVersion:
    """Return a version of a spec as clients see it."""
    verdict = "pending" if row.verdict == "proved" else row.verdict
    return SpecVersion(
        number=row.number, spec=DeploymentSpec.model_validate_json(row.document),
        model_ref=row.model_ref, verdict=cast("Verdict", verdict),
        message=row.message, created_by=row.created_by, created_at=row.created_at,
    )  # fmt: skip
