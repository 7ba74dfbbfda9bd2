"""Rules of deployments: what may be asked of them. What comes of it is the controller's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from nablahub.core.context import Context
from nablahub.core.database import count_by
from nablahub.core.errors import NablaError, NotFound
from nablahub.core.events import Event
from nablahub.core.ids import new_uuid
from nablahub.core.paging import page
from nablahub.core.permissions import Principal
from nablahub.core.times import now
from nablahub.core.yamlspec import Document
from nablahub.deployments.controller import Controller
from nablahub.deployments.errors import (
    BadSpec,
    DeploymentNameTaken,
    DeploymentNotReady,
    DeploymentStopped,
    NoSuchSpecVersion,
)
from nablahub.deployments.proxy import PREFIX, ProxyToken
from nablahub.deployments.routes import PREFIX as ADDRESSES
from nablahub.deployments.servers import KIND, ModelServers, Servers
from nablahub.deployments.specs import (
    SELDON,
    SpecText,
    check_instance,
    check_scale,
    fingerprint,
    pick_engine,
    read_spec,
)
from nablahub.deployments.store import DeploymentRow, SpecRow, of_teams, servers, spec, specs
from nablahub.deployments.types import (
    Deployment,
    DeploymentCreate,
    DeploymentPatch,
    DeploymentQuery,
    DeploymentSpec,
    SpecQuery,
    SpecVersion,
)
from nablahub.deployments.wire import as_wire, spec_as_wire
from nablahub.jobs.submission import why_not
from nablahub.models.service import ModelService
from nablahub.projects.service import ProjectService, held


class ModelVersion(Protocol):
    """What a deployment asks of a model version: its full reference and its format."""

    @property
    def id(self) -> str:
        """Such as ``mo…:abc1234``."""

    @property
    def format(self) -> str:
        """``ONNX``, ``sklearn`` or ``Custom``."""


class Models(Protocol):
    """Finds the version that a reference means."""

    def resolve(
        self, session: Session, who: Principal, ref: str, *, project_id: str
    ) -> ModelVersion:
        """Return the version of ``id``, ``name``, with ``:version`` or the latest; NotFound."""


class DeploymentService:
    """Deployments of projects.

    Parameters
    ----------
    jobs, models
        What runs servers and finds models; by default the services of jobs and models.
    """

    token_prefix = PREFIX

    def __init__(
        self, context: Context, jobs: Servers | None = None, models: Models | None = None
    ) -> None:
        self._context = context
        self._models: Models = models or context.get(ModelService)
        self._servers: Servers = jobs or ModelServers(context)
        self.controller = Controller(context, self._servers)
        self._proxy = ProxyToken(context.settings)

    async def authenticate(self, token: str) -> Principal | None:
        """Return the proxy when it is the proxy's token."""
        return self._proxy.principal(token)

    async def lead(self) -> None:
        """Bring the routes back to what the rows say."""
        await self.controller.lead()

    async def stop(self) -> None:
        """Close the prober; model servers go on."""
        await self.controller.stop()

    def resume(self, session: Session) -> None:
        """Look at every deployment, those being deleted too.

        Nobody knows what became of the servers meanwhile, so each address has to prove itself
        again before it's called running; its traffic goes on. A new version that is being tried
        has its whole time again: the way to it is only known to who leads.
        """
        for row in session.scalars(select(DeploymentRow)):
            spec(session, row.id, row.spec_version).probing_since = None
            if row.state == "Running" and row.serving_version is not None:
                serving = spec(session, row.id, row.serving_version)
                serving.verdict = "proved"
                row.state, row.message = "Provisioned", "Its address is being tried."
                self.tell(session, row, "changed")
            self._context.reconciler.wake(session, KIND, row.id)

    def count_states(self, session: Session) -> dict[str, dict[str, int]]:
        """Return how many deployments are in which state."""
        return {"deployments": count_by(session, DeploymentRow.state)}

    def project_holds(self, session: Session, project_id: str) -> str | None:
        """Return how many deployments a project still holds."""
        return held(session, DeploymentRow.project_id, project_id, "deployment")

    def model_needed_by(self, session: Session, model_id: str) -> list[str]:
        """Return the deployments that serve a model or are to serve it."""
        query = select(DeploymentRow).join(
            SpecRow,
            (SpecRow.deployment_id == DeploymentRow.id)
            & SpecRow.number.in_([DeploymentRow.spec_version, DeploymentRow.serving_version]),
        )
        query = query.where(
            DeploymentRow.deleted.is_(False), SpecRow.model_ref.startswith(f"{model_id}:")
        )
        return sorted({f"deployment {row.name}" for row in session.scalars(query)})

    def create(
        self, session: Session, who: Principal, asked: DeploymentCreate, given: SpecText
    ) -> Deployment:
        """Make a deployment; BadSpec names what of its spec there is not."""
        project = self._context.get(ProjectService).row(session, who, asked.project_id)
        wanted, source = given
        self._check_free(session, project.id, wanted.name)
        at = now()
        row = DeploymentRow(
            id=new_uuid(), team_id=project.team_id, project_id=project.id, name=wanted.name,
            spec_version=1, serving_version=None, previous_version=None, deleted=False,
            state="Pending" if wanted.wanted else "Stopped", reason="",
            message="Its model server is about to start." if wanted.wanted else "",
            ready_replicas=0, created_by=who.name, created_at=at, updated_at=at, revision=1,
        )  # fmt: skip
        version = self._version(session, who, row, wanted, source)
        session.add(row)
        session.flush()
        session.add(version)
        session.flush()
        self.tell(session, row, "created")
        self._context.reconciler.wake(session, KIND, row.id)
        return self._as_wire(session, row)

    def row(self, session: Session, who: Principal, deployment_id: str) -> DeploymentRow:
        """Return the row; NotFound unless it is there and the caller's."""
        what = f"Deployment {deployment_id}"
        row = session.get(DeploymentRow, deployment_id)
        if row is None or row.deleted:
            raise NotFound(
                f"{what} was not found.", hint="`nablahub deployments list` shows yours."
            )
        who.check_team(row.team_id, what)
        who.check_project(row.project_id, what)
        return row

    def get(self, session: Session, who: Principal, deployment_id: str) -> Deployment:
        """Return one deployment."""
        return self._as_wire(session, self.row(session, who, deployment_id))

    def specs(
        self, session: Session, row: DeploymentRow, asked: SpecQuery
    ) -> tuple[list[SpecVersion], str | None]:
        """Return a page of the deployment's spec versions."""
        found, following = page(
            session, specs(row.id), asked, columns={"number": SpecRow.number}, key=SpecRow.number
        )
        return [spec_as_wire(version) for version in found], following

    def list(
        self, session: Session, who: Principal, asked: DeploymentQuery
    ) -> tuple[list[Deployment], str | None]:
        """Return a page of the caller's deployments."""
        if asked.project is not None:
            self._context.get(ProjectService).row(session, who, asked.project)
        query = of_teams(who.team_ids, asked.project, asked.name)
        if who.project_id is not None:
            query = query.where(DeploymentRow.project_id == who.project_id)
        columns = {
            "created_at": DeploymentRow.created_at, "updated_at": DeploymentRow.updated_at,
            "name": DeploymentRow.name,
        }  # fmt: skip
        rows, following = page(session, query, asked, columns=columns, key=DeploymentRow.id)
        return [self._as_wire(session, row) for row in rows], following

    def change(
        self,
        session: Session,
        who: Principal,
        row: DeploymentRow,
        asked: DeploymentPatch,
        given: SpecText | None = None,
    ) -> Deployment:
        """Roll a changed spec out as the next version; the same spec again changes nothing.

        A version that was given up is tried again. ``given`` is what was read of a whole new spec.
        """
        current = spec(session, row.id, row.spec_version)
        wanted, source = given or read_spec(self._changed(session, row, current, asked))
        if wanted.name != row.name:
            fault = source.fault(
                ("name",), f"The deployment is called {row.name!r}; its name can't be changed.",
                hint="Make another deployment of the new name, then delete this one.",
            )  # fmt: skip
            raise BadSpec([fault])
        version = self._version(session, who, row, wanted, source)
        unchanged = (version.document, version.model_ref) == (current.document, current.model_ref)
        if unchanged and current.verdict != "failed":
            return self._as_wire(session, row)
        row.spec_version = version.number = row.spec_version + 1
        session.add(version)
        for server in servers(session, row.id):
            if server.fingerprint == version.fingerprint:
                server.failures, server.message = 0, ""
                if server.state == "gone":
                    server.due = None
        session.flush()
        row.updated_at = now()
        row.revision += 1
        row.reason, row.message = "", f"Version {version.number} is about to start."
        if row.serving_version is None:
            row.state = "Pending" if wanted.wanted else "Stopped"
        self.tell(session, row, "changed")
        self._context.reconciler.wake(session, KIND, row.id)
        return self._as_wire(session, row)

    def delete(self, session: Session, row: DeploymentRow) -> None:
        """Take the deployment away at once; its servers end a moment later."""
        self.tell(session, row, "deleted")
        row.deleted = True
        row.updated_at = now()
        # The name is free for another one while this one's servers are still ending.
        row.name = f"{row.name} ({row.id})"
        self._context.reconciler.wake(session, KIND, row.id)

    def unserved(self, session: Session, path: str) -> NablaError | None:
        """Return why the proxy found nobody to answer below a deployment's address.

        None when no deployment has it. Whoever asks has shown no key: its name, and what became of
        it, are its team's.
        """
        parts = path.removeprefix(f"{ADDRESSES}/").split("/")
        row = session.get(DeploymentRow, parts[0])
        if row is None or row.deleted:
            return None
        return DeploymentStopped(path) if row.state == "Stopped" else DeploymentNotReady(path)

    def tell(self, session: Session, row: DeploymentRow, type_: str) -> None:
        """Emit an event of the deployment."""
        data = {"name": row.name, "state": row.state, "message": row.message}
        event = Event(KIND, row.id, type_, row.team_id, row.project_id, data)
        self._context.events.emit(session, event)

    def _changed(
        self, session: Session, row: DeploymentRow, current: SpecRow, asked: DeploymentPatch
    ) -> Mapping[str, Any]:
        """Return the spec that a patch of some fields, or back to a version, stands for."""
        base = current
        if asked.spec_version is not None:
            found = session.get(SpecRow, (row.id, asked.spec_version))
            if found is None:
                raise NoSuchSpecVersion(
                    f"There is no spec version {asked.spec_version}; "
                    f"they go from 1 to {row.spec_version}."
                )
            base = found
        fields: dict[str, Any] = json.loads(base.document)
        if asked.spec_version is not None:
            # Going back means the very model of that time, not the latest one of now.
            fields["model"] = base.model_ref
        changes = asked.model_dump(
            exclude_unset=True, include={"model", "replicas", "instance_type", "enabled"}
        )
        return {**fields, **{name: value for name, value in changes.items() if value is not None}}

    def _version(
        self,
        session: Session,
        who: Principal,
        row: DeploymentRow,
        wanted: DeploymentSpec,
        source: Document,
    ) -> SpecRow:
        """Check a spec against what there is, and make its row (not added yet)."""
        machine = self._context.machine
        types = self._context.instances.types
        known = {n: why_not(kind, who, machine, serves=True) for n, kind in types.items()}
        check_instance(source, wanted, known)
        check_scale(source, wanted, several=self._servers.several)
        try:
            model = self._models.resolve(session, who, wanted.model, project_id=row.project_id)
        except NablaError as error:
            raise BadSpec([source.fault(("model",), error.detail, hint=error.hint)]) from error
        engine = pick_engine(source, wanted, model.format)
        return SpecRow(
            deployment_id=row.id, number=row.spec_version,
            document=wanted.model_dump_json(exclude_defaults=True), model_ref=model.id,
            engine=engine,
            fingerprint=fingerprint(
                model.id, engine, wanted.instance_type, SELDON if wanted.engine == SELDON else None
            ),
            verdict="pending", message="", sample=None, probing_since=None, created_by=who.name,
            created_at=now(),
        )  # fmt: skip

    def _as_wire(self, session: Session, row: DeploymentRow) -> Deployment:
        return as_wire(session, row, self._context.settings.public_url)

    def _check_free(self, session: Session, project_id: str, name: str) -> None:
        query = select(DeploymentRow.id).filter_by(project_id=project_id, name=name)
        if session.scalars(query).first():
            raise DeploymentNameTaken(name)
