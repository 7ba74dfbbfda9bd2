"""Models over the REST API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nablahub.datasets.versioned import VersionedAPI
from nablahub.models.errors import ModelNameTaken, NoSuchModel
from nablahub.models.types import Format, Model, ModelVersion


class ModelsAPI(VersionedAPI[Model, ModelVersion]):
    """Models, as a client sees them; a reference is an id or name, maybe with ``:version``."""

    _root = "/models"
    _thing = Model
    _version = ModelVersion

    def list(self, *, project: str | None = None, name: str | None = None) -> Iterator[Model]:
        """Yield your models, newest first."""
        return map(Model.model_validate, self._hub.pages("/models", project=project, name=name))

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
