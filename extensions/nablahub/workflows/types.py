"""Wire types of workflows and their runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from nablahub.core.names import Name
from nablahub.core.paging import PageQuery
from nablahub.core.specmodel import Text
from nablahub.core.wire import Body, Resource, Revision, Timestamp
from nablahub.jobs.workspaces.types import Digest

State = Literal[
    "Pending", "Provisioned", "Running", "Succeeded", "Failed", "Error", "Canceled", "Skipped",
    "Stopped",
]  # fmt: skip
#: States that never change.
ENDED = frozenset({"Succeeded", "Failed", "Error", "Canceled", "Skipped", "Stopped"})

SpecText = Annotated[
    str | dict[str, Any],
    Field(description="YAML text (faults then have lines) or the same as JSON"),
]
Files = Annotated[
    dict[str, str],
    Field(
        default_factory=dict,
        max_length=200,
        description="Small text files that jobs find in /work, such as notebooks: name → content",
    ),
]


class FaultModel(Resource):
    """One thing that is wrong with a spec."""

    message: str
    pointer: str = ""
    line: int | None = None
    column: int | None = None
    hint: str = ""


class JobSummary(Resource):
    """A job of a workflow, as the graph shows it."""

    name: str
    action: str
    needs: list[str]


class InputSummary(Resource):
    """What a run can be given."""

    name: str
    type: str
    optional: bool
    default: str | None = Field(description="None: it must be given, unless optional")


class RunSummary(Resource):
    """What a list of workflows shows of a run."""

    id: str
    number: int
    state: State
    created_at: Timestamp
    finished_at: Timestamp | None


class WorkflowCreate(Body):
    """What makes a workflow."""

    project: str = Field(description="Id of the project")
    name: Name | None = Field(default=None, description="Default: `name` in the spec")
    spec: SpecText
    files: Files


class WorkflowPatch(Body):
    """What may be changed of a workflow; runs keep the spec they were started with."""

    name: Name | None = None
    spec: SpecText | None = None
    files: dict[str, str] | None = Field(default=None, max_length=200)


class Workflow(Resource):
    """A workflow."""

    id: str
    team_id: str
    project_id: str
    name: str
    jobs: list[JobSummary]
    inputs: list[InputSummary]
    files: list[str] = Field(description="Names of the files it carries")
    latest_run: RunSummary | None
    created_by: str
    created_at: Timestamp
    updated_at: Timestamp
    revision: Revision


class WorkflowDetail(Workflow):
    """A workflow with its spec."""

    spec: dict[str, Any]
    source: str | None = Field(description="The YAML text, when it came as text")
    warnings: list[FaultModel] = Field(description="What keeps it from running here just now")


class WorkflowQuery(PageQuery):
    """Filters of the list."""

    project: str | None = Field(default=None, description="Only those of this project")
    name: str | None = Field(default=None, description="Exactly this name")


class Validation(Resource):
    """What is wrong with a spec; nothing was stored."""

    valid: bool
    errors: list[FaultModel]


class ValidationRequest(Body):
    """A spec to be looked at."""

    spec: SpecText
    files: Files


class InputValue(Body):
    """A value for an input: text, or which dataset or model (``id`` and ``ref`` mean the same)."""

    value: Text | None = None
    id: Text | None = None
    ref: Text | None = None


class RunCreate(Body):
    """What starts a run."""

    inputs: dict[str, InputValue] = Field(default_factory=dict, description="By name")
    workspace: Digest | None = Field(
        default=None, description="A folder that was uploaded: each job begins in a copy of it"
    )


class Output(Resource):
    """What a job left: a version of a dataset or model, or a text."""

    kind: Literal["dataset", "model", "string", "volume"]
    ref: str | None = None
    value: str | None = None


class RunInput(Resource):
    """What an input was bound to when the run was started."""

    kind: Literal["dataset", "model", "string", "bucket"]
    ref: str | None = Field(
        default=None, description="The version, for ever the same; or the folder of a bucket"
    )
    value: str | None = None
    read_only: bool = Field(default=True, description="False: a job may write into the bucket")
    given: str | None = Field(default=None, description="What the user wrote")


class RunJob(Resource):
    """A job of a run."""

    name: str
    job_id: str | None = Field(description="None when the service does it itself, or not yet")
    action: str
    needs: list[str]
    state: State
    reason: str
    message: str
    outputs: dict[str, Output]
    notebook: str | None = Field(
        default=None, description="Path below api/v1 of the executed notebook, if there is one"
    )
    started_at: Timestamp | None
    finished_at: Timestamp | None


class Run(Resource):
    """A run of a workflow."""

    id: str
    uuid: str
    number: int = Field(description="Counts from 1 within the workflow")
    workflow_id: str
    workflow_name: str
    project_id: str
    team_id: str
    state: State
    reason: str
    message: str
    inputs: dict[str, RunInput]
    outputs: dict[str, Output] = Field(description="`<job>.<output>` → what it left")
    jobs: list[RunJob]
    workspace: Digest | None = Field(default=None, description="The folder its jobs begin in")
    created_by: str
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None


class RunQuery(PageQuery):
    """Filters of the list of runs."""

    state: State | None = None


class ProjectRunQuery(RunQuery):
    """Filters of the list of all runs."""

    project: str | None = Field(default=None, description="Only those of this project")
