"""Datasets over the REST API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nablahub.core.transport import Transport
from nablahub.datasets.errors import NameTaken, NoSuchFile
from nablahub.datasets.fetching import Fetcher, refuse_others
from nablahub.datasets.manifest import KIND_EXECUTABLE, Entry
from nablahub.datasets.patience import patiently
from nablahub.datasets.sending import Progress, Sender, silent
from nablahub.datasets.types import Dataset, DatasetVersion, DvcExport, File


def split(ref: str) -> tuple[str, str]:
    """Return dataset and version of a reference; the version is ``latest`` by default."""
    base, _, version = ref.partition(":")
    return base, version or "latest"


def _version_path(ref: str) -> str:
    base, version = split(ref)
    return f"/datasets/{quote(base, safe='')}/versions/{quote(version, safe='')}"


class DatasetsAPI:
    """Datasets, as a client sees them; a reference is an id or name, maybe with ``:version``."""

    def __init__(self, transport: Transport) -> None:
        self._hub = transport

    def list(self, *, project: str | None = None) -> Iterator[Dataset]:
        """Yield your datasets, newest first."""
        return map(Dataset.model_validate, self._hub.pages("/datasets", project=project))

    def get(self, ref: str) -> Dataset:
        """Return a dataset by its id or name; NoSuchDataset when you have none such."""
        return Dataset.model_validate(self._hub.get(f"/datasets/{quote(split(ref)[0], safe='')}"))

    def create(
        self,
        name: str,
        *,
        project: str | None = None,
        description: str = "",
        team: str | None = None,
    ) -> Dataset:
        """Create an empty dataset; NameTaken when the team has one of that name."""
        body = {"name": name, "project": project, "description": description, "team": team}
        return Dataset.model_validate(self._hub.post("/datasets", body))

    def ensure(self, name: str, *, project: str | None = None) -> Dataset:
        """Return the dataset of that name, making it when there is none."""
        try:
            return self.create(name, project=project)
        except NameTaken:
            return self.get(name)

    def change(self, dataset: Dataset, **fields: str) -> Dataset:
        """Change fields of the revision that was read."""
        path = f"/datasets/{dataset.id}"
        return Dataset.model_validate(self._hub.patch(path, fields, revision=dataset.revision))

    def delete(self, ref: str) -> None:
        """Delete a dataset with all its versions; InUse when something depends on it."""
        self._hub.delete(f"/datasets/{self.get(ref).id}")

    def versions(self, ref: str) -> Iterator[DatasetVersion]:
        """Yield a dataset's versions, newest first."""
        path = f"/datasets/{quote(split(ref)[0], safe='')}/versions"
        return map(DatasetVersion.model_validate, self._hub.pages(path))

    def version(self, ref: str) -> DatasetVersion:
        """Return one version."""
        return DatasetVersion.model_validate(self._hub.get(_version_path(ref)))

    def files(self, ref: str, *, prefix: str = "") -> Iterator[File]:
        """Yield the files of a version, by path."""
        path = f"{_version_path(ref)}/files"
        return map(File.model_validate, self._hub.pages(path, prefix=prefix or None, limit=1000))

    def read(self, ref: str, path: str) -> bytes:
        """Return a file's content."""
        return patiently(lambda: b"".join(self.stream(ref, path)))

    def stream(self, ref: str, path: str) -> Iterator[bytes]:
        """Yield a file's content in pieces."""
        where = f"{_version_path(ref)}/files/{quote(path)}"
        with self._hub.stream("GET", where) as answer:
            yield from answer.iter_bytes()

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
        fetcher = Fetcher(self._hub, version.dataset_id, version.version, progress)
        if path is None:
            fetcher.fetch(Path(target), overwrite=overwrite)
            return version
        for file in self.files(version.id, prefix=path):
            if file.path == path:
                kind = KIND_EXECUTABLE if file.kind == "executable" else "f"
                entry = Entry(file.path, kind, file.size, file.md5, file.sha256)
                if not overwrite:
                    refuse_others({Path(target): entry})
                Path(target).parent.mkdir(parents=True, exist_ok=True)
                fetcher.large(entry, Path(target))
                return version
        raise NoSuchFile(path, version.id)

    def export_dvc(self, ref: str) -> DvcExport:
        """Return the texts that make a DVC repository use a version."""
        return DvcExport.model_validate(self._hub.get(f"{_version_path(ref)}/dvc"))
