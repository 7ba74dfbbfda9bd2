"""The slices below, as workflows see them."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping

from pydantic import ValidationError
from sqlalchemy.orm import Session

from nablahub.core import environments, instances
from nablahub.core.context import Context
from nablahub.core.errors import Fault, Invalid
from nablahub.core.names import check_name
from nablahub.core.permissions import Principal
from nablahub.datasets.service import DatasetService
from nablahub.jobs.service import JobService
from nablahub.jobs.submission import why_not
from nablahub.jobs.types import Input, JobSpec, Output, Owner
from nablahub.models.service import ModelService
from nablahub.models.versions import ModelFiles, Registration
from nablahub.storage.service import StorageService
from nablahub.workflows.machine import Machine
from nablahub.workflows.work import JobRequest, JobView, ModelRequest, Place

OWNER = "run"
DATASET_ID = re.compile(r"ds[a-z0-9]{13}")
DEFAULT_ENVIRONMENT = "default"


class SliceWork:
    """Workflows' view of datasets, models and jobs.

    Parameters
    ----------
    context : Context
        Where their services are found when they are needed.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._machine = context.machine
        # A lock file does not change under a service that runs.
        self._has_kernel = functools.cache(environments.has_kernel)

    def machine(self, who: Principal) -> Machine:
        """Return what this installation offers to the jobs of a user."""
        types = self._context.instances.types
        return Machine(
            environment=environments.resolve,
            environments=environments.names,
            instance=lambda name: why_not(types[name], who, self._machine),
            instances=lambda: list(types),
            has_kernel=self._has_kernel,
        )

    def resolve_dataset(self, session: Session, who: Principal, place: Place, ref: str) -> str:
        """Return the version that ``ref`` means now; NoSuchDataset or NoSuchVersion if none."""
        return self._context.get(DatasetService).resolve(session, _in_team(who, place), ref).id

    def resolve_model(self, session: Session, who: Principal, place: Place, ref: str) -> str:
        """Return the model version that ``ref`` means now; NotFound if none."""
        models = self._context.get(ModelService)
        asking = _in_team(who, place)
        return models.resolve(session, asking, ref, project_id=place.project_id).id

    def resolve_bucket(
        self, session: Session, who: Principal, place: Place, ref: str, *, read_only: bool
    ) -> str:
        """Return the folder of a bucket, by its provider's id; NoSuchProvider or HoldsDatasets."""
        storage = self._context.get(StorageService)
        return str(storage.folder(session, _in_team(who, place), ref, read_only=read_only))

    def ensure_dataset(self, session: Session, who: Principal, place: Place, ref: str) -> str:
        """Return the id of the dataset called ``ref``, making it in the project when missing.

        Raises
        ------
        Invalid
            When it can't be called so.
        NoSuchDataset
            When ``ref`` is an id, and there is none.
        """
        try:
            name = check_name(ref)
        except ValueError as error:
            raise Invalid(f"'{ref}' can't be the name of a dataset. {error}") from None
        datasets = self._context.get(DatasetService)
        if DATASET_ID.fullmatch(ref):
            return datasets.row(session, place.team_id, ref).id  # Nobody calls a new one so.
        row = datasets.get_or_create(session, place.team_id, place.project_id, name, who.name)
        return row.id

    def submit(self, session: Session, place: Place, request: JobRequest, key: str) -> str:
        """Submit a job and return its id; the same key gives the same job."""
        environment = environments.resolve(request.image or DEFAULT_ENVIRONMENT)
        try:
            spec = JobSpec(
                project_id=place.project_id,
                name=request.name,
                command=list(request.command),
                environment=environment or request.image or DEFAULT_ENVIRONMENT,
                tools=list(request.tools),
                instance_type=request.instance_type or self._default_instance(),
                env=dict(request.env),
                inputs=[
                    Input(name=m.name, kind=m.kind, ref=m.ref, read_only=m.read_only)  # type: ignore[arg-type]  # pydantic checks it
                    for m in request.inputs
                ],
                outputs=[Output(name=m.name, kind=m.kind, ref=m.ref) for m in request.outputs],  # type: ignore[arg-type]  # pydantic checks it
                files=dict(request.files),
                timeout_seconds=request.timeout,
                workspace=request.workspace,
            )
        except ValidationError as error:
            faults = [
                Fault(detail["msg"], pointer="/" + "/".join(map(str, detail["loc"])))
                for detail in error.errors(include_url=False, include_input=False)
            ]
            words = "; ".join(str(fault) for fault in faults)
            raise Invalid(f"It can't be made a job: {words}.", errors=faults) from None
        row = self._context.get(JobService).submit(
            session, _principal(place), spec, owner=Owner(kind=OWNER, id=place.run), name_key=key
        )
        return row.id

    def look(self, session: Session, run: str) -> Mapping[str, JobView]:
        """Return what became of a run's jobs so far, by their ids."""
        rows = self._context.get(JobService).of_owner(session, OWNER, run)
        return {
            row.id: JobView(
                state=row.state, reason=row.reason or "", message=row.message,
                outputs=row.outputs, started_at=row.started_at, finished_at=row.finished_at,
            )
            for row in rows
        }  # fmt: skip

    def cancel(self, session: Session, job_id: str) -> bool:
        """Ask a job to end; return whether that is news."""
        jobs = self._context.get(JobService)
        row = jobs.find(session, job_id)
        if row is None or row.finished or row.wanted == "end":
            return False
        jobs.cancel(session, row)
        return True

    def forget(self, session: Session, run: str) -> None:
        """Delete the jobs of a run that has ended, with their logs."""
        self._context.get(JobService).forget_of_owner(session, OWNER, run)

    def read_model(self, place: Place, asked: ModelRequest) -> ModelFiles:
        """Look at the files of a model; blocks as the object store does.

        Raises
        ------
        NablaError
            They are not there, or can't be of that format.
        """
        models, registration = self._context.get(ModelService), _registration(place, asked, None)
        found = self._context.database.read_sync(
            lambda s: models.look(s, place.team_id, place.team_id, registration)
        )
        return models.read(*found, registration)

    def create_model(
        self, session: Session, place: Place, asked: ModelRequest, files: ModelFiles, key: str
    ) -> str:
        """Make a model version of files that were read, return its ref; idempotent by the key."""
        row = self._context.get(ModelService).register(
            session, team_id=place.team_id, project_id=place.project_id, name=asked.name,
            asked=_registration(place, asked, key), files=files,
        )  # fmt: skip
        return row.id

    def _default_instance(self) -> str:
        """Return the usual instance type, or the biggest that fits where that one does not."""
        types = self._context.instances.types
        # A type that is kept for some is nobody's default.
        open_ = [kind for kind in types.values() if kind.users is None and kind.groups is None]
        for kind in open_:
            if kind.name == instances.DEFAULT_INSTANCE and self._fits(kind):
                return kind.name
        fitting = instances.suggestion(self._machine, open_)
        return fitting.name if fitting else instances.DEFAULT_INSTANCE

    def _fits(self, kind: instances.InstanceType) -> bool:
        return self._machine is None or kind.fits(self._machine) is None


def _registration(place: Place, asked: ModelRequest, key: str | None) -> Registration:
    return Registration(
        asked.version, asked.type, author=place.user, source=f"run {place.run}", key=key
    )


def _in_team(who: Principal, place: Place) -> Principal:
    """Return who asks, limited to the team of the project: a run takes nothing of another one."""
    return dataclasses.replace(who, team_ids=who.team_ids & {place.team_id})


def _principal(place: Place) -> Principal:
    """Return the run as whoever it acts for: datasets are the team's, so it is not narrowed."""
    return Principal(place.user, "run", frozenset({place.team_id}), groups=place.groups)
