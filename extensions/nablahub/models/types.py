"""Wire types of models."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from nablahub.core.names import Name
from nablahub.core.paging import PageQuery
from nablahub.core.wire import Body, Resource, Revision, Timestamp
from nablahub.datasets.types import Description

Format = Literal["ONNX", "sklearn", "Tensorflow", "Custom"]
FORMATS: tuple[str, ...] = get_args(Format)

SubPath = Annotated[
    str, Field(max_length=2048, description="A folder or file of it; empty: all of it")
]
Metadata = Annotated[dict[str, Any], Field(description="Anything worth knowing, such as metrics")]


class ModelVersionSummary(Resource):
    """What a list of models shows of a version."""

    id: str = Field(description="mo…:…, the reference that never changes its meaning")
    version: str = Field(description="The part after the colon")
    ref: str = Field(description="The same as id")
    number: int
    format: Format
    created_at: Timestamp


class Model(Resource):
    """A model."""

    id: str
    team_id: str
    project_id: str
    name: str
    description: str
    latest_version: ModelVersionSummary | None
    created_by: str
    created_at: Timestamp
    updated_at: Timestamp
    revision: Revision


class ModelVersion(ModelVersionSummary):
    """A version of a model: files of a dataset version; no byte is copied for it."""

    model_id: str
    model_name: str
    dataset_version: str = Field(description="Whose files it has")
    path: str
    files: int
    bytes: int
    metadata: dict[str, Any]
    message: str
    author: str
    source: str


class ModelCreate(Body):
    """What makes a model."""

    name: Name
    project: str = Field(description="Id of its project")
    description: Description = ""


class ModelPatch(Body):
    """What may be changed of a model; its versions never change."""

    name: Name | None = None
    description: Description | None = None


class ModelQuery(PageQuery):
    """Filters of the list."""

    project: str | None = Field(default=None, description="Only those of this project")
    name: str | None = Field(default=None, description="Exactly this name")


class ModelVersionCreate(Body):
    """What makes a version of a model."""

    dataset_version: str = Field(description="Reference of a dataset version, such as ds…:latest")
    format: Format
    path: SubPath = ""
    metadata: Metadata = Field(default_factory=dict)
    message: str = Field(default="", max_length=2000)
