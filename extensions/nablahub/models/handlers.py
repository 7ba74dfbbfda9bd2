"""Operations on models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from sqlalchemy.orm import Session

from nablahub.core.operations import Call, Preparation, StreamCall, operation, stream
from nablahub.core.paging import Page, PageQuery
from nablahub.core.permissions import Principal
from nablahub.datasets.errors import NoSuchFile
from nablahub.datasets.handlers import Opened, file_wire, send_file
from nablahub.datasets.manifest import Entry
from nablahub.datasets.paths import show
from nablahub.datasets.service import DatasetService
from nablahub.datasets.store import DatasetRow, VersionRow
from nablahub.datasets.threads import blocking
from nablahub.datasets.types import ContentQuery, File, FileQuery
from nablahub.models.service import ModelService
from nablahub.models.store import ModelVersionRow
from nablahub.models.types import (
    Model,
    ModelCreate,
    ModelPatch,
    ModelQuery,
    ModelVersion,
    ModelVersionCreate,
)
from nablahub.models.versions import ModelFiles, Registration, under, version_wire


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


def _registration(who: Principal, body: ModelVersionCreate) -> Registration:
    return Registration(
        body.dataset_version, body.format, body.path, author=who.name, source="api",
        message=body.message, metadata=body.metadata,
    )  # fmt: skip


async def _read_files(call: Preparation, body: ModelVersionCreate) -> ModelFiles:
    service, asked = call.get(ModelService), _registration(call.who, body)

    def look(session: Session) -> tuple[DatasetRow, VersionRow]:
        model = service.row(session, call.who, call.path["model"])
        return service.look(session, call.who, model.team_id, asked)

    return await blocking(service.read, *await call.context.database.read(look), asked)


@operation(
    "POST", "/models/{model}/versions", scope="models:write", status=201, prepare=_read_files
)
def create_model_version(call: Call, body: ModelVersionCreate) -> ModelVersion:
    """Make a version of files that a dataset version has; no byte is copied."""
    service = call.get(ModelService)
    model = service.row(call.session, call.who, call.path["model"])
    asked = _registration(call.who, body)
    return version_wire(model, service.add(call.session, call.who, model, asked, call.prepared))


@operation("GET", "/models/{model}/versions/{version}", scope="models:read")
def get_model_version(call: Call) -> ModelVersion:
    """Get a version by its 7 characters, or `latest`."""
    service = call.get(ModelService)
    model = service.row(call.session, call.who, call.path["model"])
    return version_wire(model, service.version(call.session, model, call.path["version"]))


@stream("GET", "/models/{model}/versions/{version}/files", scope="models:read", query=FileQuery)
async def list_model_files(call: StreamCall) -> Page[File]:
    """List the files of a model's version, by path."""
    service, datasets, path = call.get(ModelService), call.get(DatasetService), call.path
    asked: FileQuery = call.query

    def look(session: Session) -> tuple[DatasetRow, VersionRow, str]:
        model = service.row(session, call.who, path["model"])
        version = service.version(session, model, path["version"])
        return *service.source(session, version), version.path

    def wanted(entries: Iterator[Entry]) -> Iterator[File]:
        for entry in entries:
            if entry.path > (asked.cursor or "") and entry.path.startswith(asked.prefix):
                yield file_wire(entry)

    found = wanted(under(datasets, *await call.db_read(look)))
    items = await blocking(lambda: list(islice(found, asked.limit + 1)))
    more = len(items) > asked.limit
    items = items[: asked.limit]
    return Page(items=items, next=items[-1].path if more else None)


@dataclass(frozen=True)
class _Found:
    """A model's version, and the dataset version behind it."""

    opened: Opened
    version: ModelVersionRow


def _find(
    models: ModelService, datasets: DatasetService, session: Session, call: StreamCall
) -> _Found:
    model = models.row(session, call.who, call.path["model"])
    version = models.version(session, model, call.path["version"])
    dataset, source = models.source(session, version)
    contents = datasets.contents(session, dataset)
    manifest = datasets.manifest(dataset, source)
    return _Found(Opened(dataset, source, contents, manifest), version)


def _path_in(found: _Found, path: str) -> str:
    """Return a file's path in the dataset's version; reads the store."""
    base = found.version.path
    if base and found.opened.manifest.find(base) is not None:  # The version is one file.
        if path != base.rpartition("/")[2]:
            raise NoSuchFile(show(path), found.version.id)
        return base
    return f"{base}/{path}" if base else path


async def _send(call: StreamCall) -> None:
    models, datasets = call.get(ModelService), call.get(DatasetService)
    found = await call.db_read(lambda s: _find(models, datasets, s, call))
    await send_file(call, found.opened, await blocking(_path_in, found, call.path["path"]))


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
