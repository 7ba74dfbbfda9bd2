"""Models over the REST API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nablahub.datasets.fetching import Fetcher
from nablahub.datasets.reading import FilesAPI
from nablahub.datasets.sending import Progress, silent
from nablahub.models.errors import ModelNameTaken, NoSuchModel
from nablahub.models.types import Format, Model, ModelVersion


class ModelsAPI(FilesAPI):
    """Models, as a client sees them; a reference is an id or name, maybe with ``:version``."""

    _root = "/models"

    def list(self, *, project: str | None = None, name: str | None = None) -> Iterator[Model]:
        """Yield your models, newest first."""
        return map(Model.model_validate, self._hub.pages("/models", project=project, name=name))

    def get(self, ref: str) -> Model:
        """Return a model by its id or name; NoSuchModel when you have none such."""
        return Model.model_validate(self._hub.get(self._path(ref)))

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
        path = f"{self._path(ref)}/versions"
        return map(ModelVersion.model_validate, self._hub.pages(path))

    def version(self, ref: str) -> ModelVersion:
        """Return one version."""
        return ModelVersion.model_validate(self._hub.get(self._version_path(ref)))

    def download(
        self,
        ref: str,
        target: Path | str,
        *,
        path: str | None = None,
        progress: Progress = silent,
        overwrite: bool = True,
    ) -> ModelVersion:
        """Get a whole version into a folder, or one file of it to a file name.

        Raises
        ------
        WouldOverwrite
            When a file is there with other bytes and ``overwrite`` is false.
        NoSuchFile
            When ``path`` is not in the version.
        """
        version = self.version(ref)
        fetcher = Fetcher(self._hub, self._version_path(version.id), progress)
        self._download(fetcher, version.id, Path(target), path, overwrite=overwrite)
        return version
