"""Datasets over the REST API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nablahub.core.errors import Unavailable
from nablahub.datasets.errors import NameTaken, OtherProject
from nablahub.datasets.fetching import BatchFetcher
from nablahub.datasets.reading import FilesAPI
from nablahub.datasets.sending import Progress, Sender, silent
from nablahub.datasets.types import (
    Damage,
    Dataset,
    DatasetVersion,
    DvcExport,
    Verification,
)
from nablahub.projects.api import ProjectsAPI


class DatasetsAPI(FilesAPI):
    """Datasets, as a client sees them; a reference is an id or name, maybe with ``:version``."""

    _root = "/datasets"

    def list(self, *, project: str | None = None) -> Iterator[Dataset]:
        """Yield your datasets, newest first."""
        return map(Dataset.model_validate, self._hub.pages("/datasets", project=project))

    def get(self, ref: str) -> Dataset:
        """Return a dataset by its id or name; NoSuchDataset when you have none such."""
        return Dataset.model_validate(self._hub.get(self._path(ref)))

    def create(
        self,
        name: str,
        *,
        project: str | None = None,
        description: str = "",
        team: str | None = None,
        storage: str | None = None,
    ) -> Dataset:
        """Create an empty dataset; NameTaken when the team has one of that name.

        Parameters
        ----------
        storage : str or None
            Id or name of the storage provider its data lies in; None: the hub's own store.
        """
        body = {"name": name, "project": project, "description": description, "team": team}
        if storage is not None:
            body["storage_provider"] = storage
        return Dataset.model_validate(self._hub.post("/datasets", body))

    def ensure(self, name: str, *, project: str | None = None) -> Dataset:
        """Return the dataset of that name, making it when there is none.

        Raises
        ------
        OtherProject
            When a project is given and the team's dataset of that name is not one of it.
        """
        try:
            return self.create(name, project=project)
        except NameTaken:
            found = self.get(name)
        if project is None or found.project_id == project:
            return found
        projects = ProjectsAPI(self._hub)
        theirs = projects.get(found.project_id).name if found.project_id else None
        raise OtherProject(name, theirs, projects.get(project).name)

    def change(self, dataset: Dataset, **fields: str) -> Dataset:
        """Change fields of the revision that was read."""
        path = f"/datasets/{dataset.id}"
        return Dataset.model_validate(self._hub.patch(path, fields, revision=dataset.revision))

    def delete(self, ref: str) -> None:
        """Delete a dataset with all its versions; InUse when something depends on it."""
        self._hub.delete(f"/datasets/{self.get(ref).id}")

    def versions(self, ref: str) -> Iterator[DatasetVersion]:
        """Yield a dataset's versions, newest first."""
        path = f"{self._path(ref)}/versions"
        return map(DatasetVersion.model_validate, self._hub.pages(path))

    def version(self, ref: str) -> DatasetVersion:
        """Return one version."""
        return DatasetVersion.model_validate(self._hub.get(self._version_path(ref)))

    def upload(
        self,
        ref: str,
        source: Path | str,
        *,
        message: str = "",
        origin: str = "upload",
        progress: Progress = silent,
    ) -> DatasetVersion:
        """Commit a folder or file as a new version; run again, it sends only what is missing."""
        sender = Sender(self._hub, self.get(ref).id, progress)
        found: dict[str, Any] = sender.send(Path(source), message=message, origin=origin)
        return DatasetVersion.model_validate(found)

    def download(
        self,
        ref: str,
        target: Path | str,
        *,
        path: str | None = None,
        progress: Progress = silent,
        overwrite: bool = True,
    ) -> DatasetVersion:
        """Get a whole version into a folder, or one file of it to a file name.

        Raises
        ------
        WouldOverwrite
            When a file is there with other bytes and ``overwrite`` is false.
        NoSuchFile
            When ``path`` is not in the version.
        """
        version = self.version(ref)
        fetcher = BatchFetcher(self._hub, self._version_path(version.id), progress)
        self._download(fetcher, version.id, Path(target), path, overwrite=overwrite)
        return version

    def verify(self, ref: str, *, progress: Progress = silent) -> Verification:
        """Let the hub read all stored bytes of a version, and return which files are damaged.

        What has a good copy somewhere in the hub is restored. The rest is restored by uploading
        the same files again.
        """
        version = self.version(ref)
        damaged: list[Damage] = []
        path = f"{self._version_path(version.id)}/verify"
        with self._hub.stream("POST", path) as answer:
            for line in answer.iter_lines():
                told = Verification.model_validate_json(line)
                damaged += told.damaged
                progress(told.bytes, version.bytes)
                if told.done:
                    return told.model_copy(update={"damaged": damaged})
        raise Unavailable(
            "The hub stopped before it had read everything.", hint="Run the same command again."
        )

    def export_dvc(self, ref: str) -> DvcExport:
        """Return the texts that make a DVC repository use a version."""
        return DvcExport.model_validate(self._hub.get(f"{self._version_path(ref)}/dvc"))
