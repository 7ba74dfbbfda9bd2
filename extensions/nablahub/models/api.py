"""Models over the REST API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nablahub.core.objects import full_storage
from nablahub.core.transport import Transport
from nablahub.datasets.api import split
from nablahub.datasets.fetching import save
from nablahub.datasets.patience import patiently
from nablahub.datasets.sending import Progress, silent
from nablahub.datasets.types import File
from nablahub.models.errors import ModelNameTaken, NoSuchModel
from nablahub.models.types import Format, Model, ModelVersion


def _version_path(ref: str) -> str:
    base, version = split(ref)
    return f"/models/{quote(base, safe='')}/versions/{quote(version, safe='')}"


class ModelsAPI:
    """Models, as a client sees them; a reference is an id or name, maybe with ``:version``."""

    def __init__(self, transport: Transport) -> None:
        self._hub = transport

    def list(self, *, project: str | None = None, name: str | None = None) -> Iterator[Model]:
        """Yield your models, newest first."""
        return map(Model.model_validate, self._hub.pages("/models", project=project, name=name))

    def get(self, ref: str) -> Model:
        """Return a model by its id or name; NoSuchModel when you have none such."""
        return Model.model_validate(self._hub.get(f"/models/{quote(split(ref)[0], safe='')}"))

    def create(self, name: str, *, project: str, description: str = "") -> Model:
        """Create a model without versions; ModelNameTaken when the project has one so named."""
        body = {"name": name, "project": project, "description": description}
        return Model.model_validate(self._hub.post("/models", body))

    def ensure(self, name: str, *, project: str) -> Model:
        """Return the project's model of that name, making it when there is none."""
        try:
            return self.create(name, project=project)
        except ModelNameTaken:
            for found in self.list(project=project, name=name):
                return found
            raise NoSuchModel(name) from None

    def change(self, model: Model, **fields: str) -> Model:
        """Change fields of the revision that was read."""
        path = f"/models/{model.id}"
        return Model.model_validate(self._hub.patch(path, fields, revision=model.revision))

    def delete(self, ref: str) -> None:
        """Delete a model with its versions; the files stay in their datasets."""
        self._hub.delete(f"/models/{self.get(ref).id}")

    def add_version(
        self,
        ref: str,
        dataset_version: str,
        *,
        format: Format,
        path: str = "",
        message: str = "",
        metadata: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> ModelVersion:
        """Make a version of files that a dataset version has.

        Parameters
        ----------
        path : str
            A folder or file of it; empty for all of it.
        key : str or None
            Idempotency key; sent twice, it makes one version.
        """
        body = {
            "dataset_version": dataset_version, "format": format, "path": path,
            "message": message, "metadata": dict(metadata or {}),
        }  # fmt: skip
        where = f"/models/{self.get(ref).id}/versions"
        return ModelVersion.model_validate(self._hub.post(where, body, key=key))

    def versions(self, ref: str) -> Iterator[ModelVersion]:
        """Yield a model's versions, newest first."""
        path = f"/models/{quote(split(ref)[0], safe='')}/versions"
        return map(ModelVersion.model_validate, self._hub.pages(path))

    def version(self, ref: str) -> ModelVersion:
        """Return one version."""
        return ModelVersion.model_validate(self._hub.get(_version_path(ref)))

    def files(self, ref: str) -> Iterator[File]:
        """Yield the files of a version, by path."""
        return map(File.model_validate, self._hub.pages(f"{_version_path(ref)}/files", limit=1000))

    def read(self, ref: str, path: str) -> bytes:
        """Return a file's content."""

        def get() -> bytes:
            with self._hub.stream("GET", f"{_version_path(ref)}/files/{quote(path)}") as answer:
                return answer.read()

        return patiently(get)

    def download(
        self, ref: str, target: Path | str, *, progress: Progress = silent
    ) -> ModelVersion:
        """Get all files of a version into a folder; those that are there already stay."""
        version = self.version(ref)
        rows = list(self.files(version.id))
        total, done = sum(file.size for file in rows), 0
        with full_storage(target):
            for file in rows:
                where = f"{_version_path(version.id)}/files/{quote(file.path)}"
                save(self._hub, where, file, Path(target) / file.path)
                done += file.size
                progress(done, total)
        return version
