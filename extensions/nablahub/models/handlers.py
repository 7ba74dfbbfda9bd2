"""Operations on models."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from nablahub.core.operations import Call, StreamCall, operation, stream
from nablahub.core.paging import Page, PageQuery
from nablahub.datasets.errors import NoSuchFile
from nablahub.datasets.handlers import Opened, file_wire, send_file
from nablahub.datasets.paths import show
from nablahub.datasets.service import DatasetService
from nablahub.datasets.types import ContentQuery, File, FileQuery
from nablahub.models.service import ModelService
from nablahub.models.types import (
    Model,
    ModelCreate,
    ModelPatch,
    ModelQuery,
    ModelVersion,
    ModelVersionCreate,
)
from nablahub.models.versions import Registration, under, version_wire


@operation("GET", "/models", scope="models:read", query=ModelQuery)
def list_models(call: Call) -> Page[Model]:
    """List the models of your teams."""
    items, following = call.get(ModelService).list(call.session, call.who, call.query)
    return Page(items=items, next=following)


@operation("POST", "/models", scope="models:write", status=201)
def create_model(call: Call, body: ModelCreate) -> Model:
    """Create a model without versions."""
    return call.get(ModelService).create(call.session, call.who, body)


@operation("GET", "/models/{model}", scope="models:read")
def get_model(call: Call) -> Model:
    """Get a model by its id or name."""
    service = call.get(ModelService)
    return service.as_wire(call.session, service.row(call.session, call.who, call.path["model"]))


@operation("PATCH", "/models/{model}", scope="models:write")
def change_model(call: Call, body: ModelPatch) -> Model:
    """Change a model's name or description."""
    service = call.get(ModelService)
    row = service.row(call.session, call.who, call.path["model"])
    call.check_etag(row.revision)
    return service.change(call.session, row, body)


@operation("DELETE", "/models/{model}", scope="models:write")
def delete_model(call: Call) -> None:
    """Delete a model with its versions; the files stay in their datasets."""
    service = call.get(ModelService)
    service.delete(call.session, service.row(call.session, call.who, call.path["model"]))


@operation("GET", "/models/{model}/versions", scope="models:read", query=PageQuery)
def list_model_versions(call: Call) -> Page[ModelVersion]:
    """List the versions of a model, newest first."""
    service = call.get(ModelService)
    row = service.row(call.session, call.who, call.path["model"])
    items, following = service.versions(call.session, row, call.query)
    return Page(items=list(items), next=following)


@operation("POST", "/models/{model}/versions", scope="models:write", status=201)
def create_model_version(call: Call, body: ModelVersionCreate) -> ModelVersion:
    """Make a version of files that a dataset version has; no byte is copied."""
    service = call.get(ModelService)
    model = service.row(call.session, call.who, call.path["model"])
    asked = Registration(
        body.dataset_version, body.format, body.path, author=call.who.name, source="api",
        message=body.message, metadata=body.metadata,
    )  # fmt: skip
    return version_wire(model, service.add(call.session, call.who, model, asked))


@operation("GET", "/models/{model}/versions/{version}", scope="models:read")
def get_model_version(call: Call) -> ModelVersion:
    """Get a version by its 7 characters, or `latest`."""
    service = call.get(ModelService)
    model = service.row(call.session, call.who, call.path["model"])
    return version_wire(model, service.version(call.session, model, call.path["version"]))


@operation("GET", "/models/{model}/versions/{version}/files", scope="models:read", query=FileQuery)
def list_model_files(call: Call) -> Page[File]:
    """List the files of a model's version, by path."""
    service = call.get(ModelService)
    model = service.row(call.session, call.who, call.path["model"])
    version = service.version(call.session, model, call.path["version"])
    dataset, source = service.source(call.session, version)
    asked: FileQuery = call.query
    items: list[File] = []
    for entry in under(call.get(DatasetService), dataset, source, version.path):
        if entry.path > (asked.cursor or "") and entry.path.startswith(asked.prefix):
            items.append(file_wire(entry))
            if len(items) > asked.limit:
                break
    more = len(items) > asked.limit
    items = items[: asked.limit]
    return Page(items=items, next=items[-1].path if more else None)


@dataclass(frozen=True)
class _Found:
    """A file of a model's version, as a file of the dataset version behind it."""

    opened: Opened
    path: str


def _find(
    models: ModelService, datasets: DatasetService, session: Session, call: StreamCall
) -> _Found:
    model = models.row(session, call.who, call.path["model"])
    version = models.version(session, model, call.path["version"])
    dataset, source = models.source(session, version)
    contents = datasets.contents(session, dataset)
    manifest = datasets.manifest(dataset, source)
    path, base = call.path["path"], version.path
    if base and manifest.find(base) is not None:  # The version is one file.
        if path != base.rpartition("/")[2]:
            raise NoSuchFile(show(path), version.id)
        path = base
    elif base:
        path = f"{base}/{path}"
    return _Found(Opened(dataset, source, contents, manifest), path)


async def _send(call: StreamCall) -> None:
    models, datasets = call.get(ModelService), call.get(DatasetService)
    found = await call.db_read(lambda s: _find(models, datasets, s, call))
    await send_file(call, found.opened, found.path)


@stream(
    "GET",
    "/models/{model}/versions/{version}/files/{path+}",
    scope="models:read",
    query=ContentQuery,
    produces="*/*",
)
async def get_model_file(call: StreamCall) -> None:
    """Get a file of a model's version, or the part of it that `Range` asks for."""
    await _send(call)


@stream(
    "HEAD",
    "/models/{model}/versions/{version}/files/{path+}",
    scope="models:read",
    query=ContentQuery,
)
async def look_at_model_file(call: StreamCall) -> None:
    """Get the size, type and hash of a file of a model's version."""
    await _send(call)
