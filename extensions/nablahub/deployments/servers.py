"""Model servers as jobs that never end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Protocol

from sqlalchemy.orm import Session

from nablahub.core.context import Context
from nablahub.core.permissions import Principal
from nablahub.deployments.routes import IDLE_SECONDS
from nablahub.deployments.specs import ENGINE_FORMATS, SELDON
from nablahub.deployments.store import DeploymentRow, ServerRow, SpecRow
from nablahub.deployments.types import DeploymentSpec
from nablahub.jobs.service import JobService
from nablahub.jobs.types import FINISHED, Input, JobSpec, Owner, Probe, Scale

KIND: Final = "deployment"
ENVIRONMENT: Final = "serving"
#: A little more than the model server itself takes to drain.
GRACE_SECONDS: Final = 15.0
#: How long a server that drains leaves unused connections open: longer than the proxy does.
LINGER_SECONDS: Final = IDLE_SECONDS + 1
#: Served by the model server on a port of its own, without a key, where the runner gives it one.
PROBE: Final = Probe(path="/ready", live="/live", own_port=True, period=2.0)


@dataclass(frozen=True)
class Look:
    """What became of a server's job.

    Parameters
    ----------
    state : str
        ``waiting`` (for a place, its environment, its model), ``running``, or ``ended``.
    address : str
        ``host:port`` once it runs.
    message : str
        Why it waits, or how it ended.
    failed : bool
        It ended by a fault of its own; false when somebody ended it, such as a shutdown.
    servers : int
        How many take requests behind the address.
    """

    state: Literal["waiting", "running", "ended"]
    address: str = ""
    message: str = ""
    failed: bool = True
    servers: int = 1


class Servers(Protocol):
    """Starts, looks at, stops and forgets the processes of servers.

    All of these are called in a write transaction and act once it is committed, but for
    :meth:`keys_changed`, which is called on the event loop.
    """

    @property
    def several(self) -> bool:
        """Whether one of them is all replicas of a version, behind one address."""

    def start(
        self, session: Session, deployment: DeploymentRow, spec: SpecRow, server: ServerRow
    ) -> str:
        """Start a server and return its id; twice for one attempt gives the same id.

        Raises
        ------
        NablaError
            It can't be started; tried again later.
        """

    def scale(self, session: Session, job_id: str, spec: SpecRow) -> None:
        """Have as many replicas as a spec says, where one server is all of them."""

    def look(self, session: Session, job_id: str) -> Look:
        """Return how a server stands."""

    def stop(self, session: Session, job_id: str) -> None:
        """Ask a server to drain and end; nothing happens when it has ended."""

    def forget(self, session: Session, deployment_id: str) -> None:
        """Delete what is kept of a deployment's servers, which have all ended."""

    def keys_changed(self, deployment_id: str) -> None:
        """Tell servers on other machines that there are other keys now."""


class ModelServers:
    """Starts, looks at and stops the jobs of servers; one job for each server and attempt."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def several(self) -> bool:
        """Whether jobs are pods, of which a Deployment keeps as many as there are to be."""
        return self._context.get(JobService).ground.several

    def start(
        self, session: Session, deployment: DeploymentRow, spec: SpecRow, server: ServerRow
    ) -> str:
        """Submit the server's job and return its id; twice for one attempt gives the same job."""
        document = DeploymentSpec.model_validate_json(spec.document)
        version = spec.model_ref.partition(":")[2]
        command = [
            "python", "-m", "nablahub.serving",
            "--model", "/inputs/model", "--keys", "/inputs/keys",
            "--name", deployment.name, "--model-version", version,
            "--format", ENGINE_FORMATS[spec.engine], "--linger", str(LINGER_SECONDS),
        ]  # fmt: skip
        name = deployment.name if self.several else f"{deployment.name} server {server.replica + 1}"
        job = self._context.get(JobService).submit(
            session,
            Principal(
                name=deployment.created_by,
                kind="server",
                team_ids=frozenset({deployment.team_id}),
                project_id=deployment.project_id,
            ),
            JobSpec(
                project_id=deployment.project_id,
                name=name,
                kind="serve",
                command=command,
                environment=ENVIRONMENT,
                instance_type=document.instance_type,
                inputs=[
                    Input(name="model", kind="model", ref=spec.model_ref),
                    Input(name="keys", kind="keys", ref=deployment.id),
                ],
                grace_seconds=GRACE_SECONDS,
                probe=PROBE,
                scale=scale_of(document) if self.several else Scale(),
                maker="seldon" if document.engine == SELDON else "deployment",
            ),
            owner=Owner(kind=KIND, id=deployment.id),
            name_key=(
                f"{KIND}/{deployment.id}/{server.fingerprint}/{server.replica}/{server.attempt}"
            ),
        )
        return job.id

    def scale(self, session: Session, job_id: str, spec: SpecRow) -> None:
        """Change the number of the job's servers."""
        service = self._context.get(JobService)
        job = service.find(session, job_id)
        if job is not None and self.several:
            wanted = scale_of(DeploymentSpec.model_validate_json(spec.document))
            service.scale(session, job, wanted)

    def look(self, session: Session, job_id: str) -> Look:
        """Return how the job stands."""
        service = self._context.get(JobService)
        job = service.find(session, job_id)
        if job is None:
            return Look("ended", message="Its job is not known any more.")
        if job.state in FINISHED:
            said = job.message or f"Its job ended as {job.state}."
            return Look("ended", message=said, failed=job.state != "Canceled")
        if job.state == "Running" and job.address and (job.ready or not self.several):
            servers = service.servers.get(job_id, 0) if self.several else 1
            address = job.address.removeprefix("http://")
            return Look("running", address=address, message=job.message, servers=servers)
        return Look("waiting", message=job.message)

    def stop(self, session: Session, job_id: str) -> None:
        """Ask the job to end; nothing happens when it has."""
        service = self._context.get(JobService)
        job = service.find(session, job_id)
        if job is not None and job.state not in FINISHED:
            service.cancel(session, job)

    def forget(self, session: Session, deployment_id: str) -> None:
        """Delete the jobs of a deployment's servers, with their logs."""
        self._context.get(JobService).forget_of_owner(session, KIND, deployment_id)

    def keys_changed(self, deployment_id: str) -> None:
        """Answer the pods that wait for other keys."""
        self._context.get(JobService).live_keys.changed(deployment_id)


def scale_of(spec: DeploymentSpec) -> Scale:
    """Return how many servers a spec asks for."""
    least = max(1, spec.wanted)
    scaling = spec.autoscaling
    if scaling is None or not scaling.enabled:
        return Scale(least=least, most=least)
    values = {each.metric: each.value for each in scaling.metrics}
    return Scale(
        least=least, most=max(least, scaling.max_replicas), cpu=values.get("cpu"),
        memory=values.get("memory"),
    )  # fmt: skip
