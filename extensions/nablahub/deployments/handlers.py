"""Operations on deployments and their keys."""

from __future__ import annotations

import secrets

from sqlalchemy.orm import Session

from nablahub.core.errors import Invalid
from nablahub.core.operations import Call, StreamCall, operation, stream
from nablahub.core.paging import Page, PageQuery
from nablahub.core.specmodel import read
from nablahub.core.yamlspec import document
from nablahub.deployments.keyring import Keyring
from nablahub.deployments.service import DeploymentService
from nablahub.deployments.types import (
    Deployment,
    DeploymentCreate,
    DeploymentPatch,
    DeploymentQuery,
    Key,
    KeyCreate,
    NewKey,
    SpecQuery,
    SpecVersion,
)


@operation("GET", "/deployments", scope="deployments:read", query=DeploymentQuery)
def list_deployments(call: Call) -> Page[Deployment]:
    """List the deployments of your teams."""
    items, following = call.get(DeploymentService).list(call.session, call.who, call.query)
    return Page(items=items, next=following)


@operation("POST", "/deployments", scope="deployments:write", status=201)
def create_deployment(call: Call, body: DeploymentCreate) -> Deployment:
    """Deploy a model."""
    return call.get(DeploymentService).create(call.session, call.who, body)


@operation("GET", "/deployments/{deployment}", scope="deployments:read")
def get_deployment(call: Call) -> Deployment:
    """Get a deployment."""
    service = call.get(DeploymentService)
    return service.get(call.session, call.who, call.path["deployment"])


@operation("PATCH", "/deployments/{deployment}", scope="deployments:write")
def change_deployment(call: Call, body: DeploymentPatch) -> Deployment:
    """Roll out a changed spec; the version before answers until the new one does."""
    service = call.get(DeploymentService)
    row = service.row(call.session, call.who, call.path["deployment"])
    call.check_etag(row.revision)
    return service.change(call.session, call.who, row, body)


@operation("DELETE", "/deployments/{deployment}", scope="deployments:write")
def delete_deployment(call: Call) -> None:
    """Delete a deployment: its address goes at once, its servers a moment later."""
    service = call.get(DeploymentService)
    service.delete(call.session, service.row(call.session, call.who, call.path["deployment"]))


@operation(
    "GET", "/deployments/{deployment}/specs", scope="deployments:read", query=SpecQuery
)  # fmt: skip
def list_specs(call: Call) -> Page[SpecVersion]:
    """List the versions of a deployment's spec, and what came of them."""
    service = call.get(DeploymentService)
    row = service.row(call.session, call.who, call.path["deployment"])
    items, following = service.specs(call.session, row, call.query)
    return Page(items=items, next=following)


@operation("GET", "/deployments/{deployment}/keys", scope="deployments:read", query=PageQuery)
def list_keys(call: Call) -> Page[Key]:
    """List the API keys of a deployment, without their texts."""
    row = call.get(DeploymentService).row(call.session, call.who, call.path["deployment"])
    items, following = Keyring(call.context).list(call.session, row, call.query)
    return Page(items=items, next=following)


@stream(
    "POST", "/deployments/{deployment}/keys", scope="deployments:write", status=201,
    consumes="application/json",
)  # fmt: skip
async def create_key(call: StreamCall) -> NewKey:
    """Make an API key; its text is in this answer only.

    Not an ``@operation``: the answers of those are kept for requests that come twice, and the
    text of a key must not be kept anywhere.
    """
    asked, faults = read(document((await call.read()).decode("utf-8", "replace")), KeyCreate)
    if asked is None or faults:
        raise Invalid("The key can't be made as asked.", errors=faults)
    request = call.request_headers.get("Idempotency-Key") or secrets.token_urlsafe(18)

    def make(session: Session) -> NewKey:
        row = call.get(DeploymentService).row(session, call.who, call.path["deployment"])
        return Keyring(call.context).create(session, call.who, row, asked, request)

    made = await call.db_write(make)
    # It opens as soon as it's shown.
    await call.get(DeploymentService).controller.write_keys(call.path["deployment"])
    return made


@operation("DELETE", "/deployments/{deployment}/keys/{key}", scope="deployments:write")
def revoke_key(call: Call) -> None:
    """Revoke an API key: within two seconds it opens nothing any more."""
    row = call.get(DeploymentService).row(call.session, call.who, call.path["deployment"])
    Keyring(call.context).revoke(call.session, row, call.path["key"])
