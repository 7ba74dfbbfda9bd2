"""Operations on deployments and their keys."""

from __future__ import annotations

import asyncio
import secrets

from sqlalchemy.orm import Session

from nablahub.core.errors import Invalid, TooLarge
from nablahub.core.operations import Call, Preparation, StreamCall, at_leader, operation, stream
from nablahub.core.paging import Page, PageQuery
from nablahub.core.specmodel import read
from nablahub.core.yamlspec import document
from nablahub.deployments.keyring import Keyring
from nablahub.deployments.proxy import routes_for
from nablahub.deployments.service import DeploymentService
from nablahub.deployments.specs import SpecText, read_spec
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
from nablahub.projects.service import ProjectService

#: Bytes of a key's name and age.
LONGEST_KEY = 10_000


@operation("GET", "/deployments", scope="deployments:read", query=DeploymentQuery)
def list_deployments(call: Call) -> Page[Deployment]:
    """List the deployments of your teams."""
    items, following = call.get(DeploymentService).list(call.session, call.who, call.query)
    return Page(items=items, next=following)


def _read_new(call: Preparation, body: DeploymentCreate) -> SpecText:
    call.read(lambda session: call.get(ProjectService).row(session, call.who, body.project_id))
    return read_spec(body.spec)


@operation("POST", "/deployments", scope="deployments:write", status=201, prepare=_read_new)
def create_deployment(call: Call, body: DeploymentCreate) -> Deployment:
    """Deploy a model."""
    return call.get(DeploymentService).create(call.session, call.who, body, call.prepared)


@operation("GET", "/deployments/{deployment}", scope="deployments:read")
def get_deployment(call: Call) -> Deployment:
    """Get a deployment."""
    service = call.get(DeploymentService)
    return service.get(call.session, call.who, call.path["deployment"])


def _read_change(call: Preparation, body: DeploymentPatch) -> SpecText | None:
    service = call.get(DeploymentService)
    row = call.read(lambda session: service.row(session, call.who, call.path["deployment"]))
    call.check_etag(row.revision)
    return None if body.spec is None else read_spec(body.spec)


@operation(
    "PATCH", "/deployments/{deployment}", scope="deployments:write", prepare=_read_change
)  # fmt: skip
def change_deployment(call: Call, body: DeploymentPatch) -> Deployment:
    """Roll out a changed spec; the version before answers until the new one does."""
    service = call.get(DeploymentService)
    row = service.row(call.session, call.who, call.path["deployment"])
    call.check_etag(row.revision)
    return service.change(call.session, call.who, row, body, call.prepared)


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


@at_leader
@stream(
    "POST", "/deployments/{deployment}/keys", scope="deployments:write", status=201,
    consumes="application/json",
)  # fmt: skip
async def create_key(call: StreamCall) -> NewKey:
    """Make an API key; its text is in this answer only.

    Not an ``@operation``: the answers of those are kept for requests that come twice, and the
    text of a key must not be kept anywhere.
    """
    text = (await call.read()).decode("utf-8", "replace")
    if len(text) > LONGEST_KEY:
        raise TooLarge(f"What makes a key has at most {LONGEST_KEY} characters.")
    source = await asyncio.to_thread(document, text)
    asked, faults = read(source, KeyCreate)
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


@at_leader
@stream(
    "GET", "/deployment-routes", scope="deployments:read", produces="application/json"
)  # fmt: skip
async def get_routes(call: StreamCall) -> None:
    """Get Traefik's routes of all deployments; a proxy on another machine asks for them."""
    file = call.context.settings.state.deployments_routes
    await call.write(await asyncio.to_thread(routes_for, call.who, file))
