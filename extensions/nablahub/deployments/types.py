"""Wire types of deployments."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field

from nablahub.core.instances import DEFAULT_INSTANCE
from nablahub.core.names import Name
from nablahub.core.paging import PageQuery
from nablahub.core.specmodel import Text
from nablahub.core.wire import Body, Resource, Revision, Timestamp

MAX_REPLICAS = 20
MAX_AUTOMATIC = 100
Engine = Literal["onnx", "sklearn", "python"]
#: What a spec may say: by the model's format, or who makes its pods on a cluster.
Named = Literal["onnx", "sklearn", "python", "seldon"]
State = Literal["Pending", "Provisioned", "Running", "Failed", "Error", "Stopped"]


class Metric(Body):
    """What shows that servers are busy."""

    metric: Literal["cpu", "memory"]
    summary: Literal["average"] = "average"
    value: int = Field(
        ge=1, le=100, description="Percent of what the instance type has: above it, more servers"
    )


class Autoscaling(Body):
    """How the number of servers follows their load, on a cluster."""

    enabled: bool = True
    max_replicas: int = Field(
        ge=1, le=MAX_AUTOMATIC, validation_alias=AliasChoices("max_replicas", "maxReplicas"),
        description="Never more; `replicas` says how many there are at least",
    )  # fmt: skip
    metrics: list[Metric] = Field(min_length=1, max_length=2)


class DeploymentSpec(Body):
    """What a deployment is to be; written as YAML or JSON."""

    name: Name
    model: Text = Field(description="Id or name of a model, `:version` behind it or the latest")
    replicas: int = Field(default=1, ge=0, le=MAX_REPLICAS, description="0 stops it")
    instance_type: Text = DEFAULT_INSTANCE
    autoscaling: Autoscaling | None = Field(
        default=None, description="More servers when they are busy; on a cluster only"
    )
    engine: Named | None = Field(
        default=None,
        description="Default: by the model's format; `seldon`: the same, in pods that Seldon "
        "Core's operator makes",
    )
    enabled: bool = True
    sample: dict[str, Any] | None = Field(
        default=None, description="A V2 inference request to try before traffic comes"
    )

    @property
    def wanted(self) -> int:
        """How many servers there are to be."""
        return self.replicas if self.enabled else 0


class Deployment(Resource):
    """A deployment."""

    id: str
    name: str
    project_id: str
    team_id: str
    state: State
    reason: str = Field(description="Short code, empty when all is well")
    message: str
    model_ref: str = Field(description="The model version that answers, or is to answer")
    model_name: str = Field(description="Its name in /v2/models/<model_name>/infer")
    engine: Engine
    instance_type: str
    replicas: int
    ready_replicas: int
    enabled: bool
    endpoint: str = Field(description="Public address; needs an API key")
    spec: DeploymentSpec
    spec_version: int
    serving_version: int | None = Field(description="The spec version that answers now")
    sample: dict[str, Any] | None = Field(description="A request that it has answered")
    created_by: str
    created_at: Timestamp
    updated_at: Timestamp
    revision: Revision


class DeploymentCreate(Body):
    """What makes a deployment."""

    project_id: str
    spec: str | dict[str, Any] = Field(description="YAML text, or the spec itself")


class DeploymentPatch(Body):
    """A new spec, or some fields of it; a changed one is rolled out as the next version."""

    spec: str | dict[str, Any] | None = Field(default=None, description="The whole new spec")
    spec_version: int | None = Field(default=None, ge=1, description="Go back to this version")
    model: str | None = None
    replicas: int | None = Field(default=None, ge=0, le=MAX_REPLICAS)
    instance_type: str | None = None
    enabled: bool | None = None


class DeploymentQuery(PageQuery):
    """Filters of the list."""

    project: str | None = Field(default=None, description="Id of a project")
    name: str | None = Field(default=None, description="Exactly this name")


Verdict = Literal["pending", "healthy", "failed"]


class SpecVersion(Resource):
    """One version of a deployment's spec."""

    number: int
    spec: DeploymentSpec
    model_ref: str
    verdict: Verdict
    message: str
    created_by: str
    created_at: Timestamp


class SpecQuery(PageQuery):
    """The list of a deployment's specs, newest first."""

    sort: str = Field(default="-number", description="number")


class Key(Resource):
    """An API key, without its text."""

    id: str
    name: str
    prefix: str = Field(description="How its text begins")
    created_by: str
    created_at: Timestamp
    expires_at: Timestamp | None


class NewKey(Key):
    """A key just made: the only time its text is shown."""

    key: str


class KeyCreate(Body):
    """What makes a key."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    expires_in: int | None = Field(
        default=None, ge=1, le=10 * 366 * 86400, description="Seconds; default: never"
    )
