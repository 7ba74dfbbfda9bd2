"""Datasets over the REST API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from urllib.parse import quote

from nablahub.core.errors import Unavailable
from nablahub.core.transport import once
from nablahub.datasets.checking import FolderChecker
from nablahub.datasets.drafting import Draft
from nablahub.datasets.errors import NameTaken, OtherProject
from nablahub.datasets.reading import DatasetReader, split
from nablahub.datasets.sending import BINARY, Progress, Sender, silent
from nablahub.datasets.types import (
    Change,
    Collection,
    Damage,
    Dataset,
    DatasetVersion,
    DvcExport,
    Lineage,
    Sharer,
    Tag,
    Verification,
)
from nablahub.datasets.unpacked import unpacked
from nablahub.datasets.versioned import VersionedAPI
from nablahub.projects.api import ProjectsAPI


class DatasetsAPI(DatasetReader, VersionedAPI[Dataset, DatasetVersion]):
    """Datasets, as a client sees them; a reference is an id or name, maybe with ``:version``."""

    _thing = Dataset
    _version = DatasetVersion

    def list(self, *, project: str | None = None) -> Iterator[Dataset]:
        """Yield your datasets, newest first."""
        return map(Dataset.model_validate, self._hub.pages("/datasets", project=project))

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

    def delete(self, ref: str) -> None:
        """Delete a dataset with all its versions; InUse when something depends on it."""
        self._hub.delete(f"/datasets/{self.get(ref).id}")

    def upload(
        self,
        ref: str,
        source: Path | str,
        *,
        message: str = "",
        origin: str = "upload",
        again: bool = False,
        unpack: bool = False,
        progress: Progress = silent,
    ) -> DatasetVersion:
        """Commit a folder or file as a new version; run again, it sends only what is missing.

        When the latest version is the same tree, that is returned and no other is made, unless
        ``again`` is set. With ``unpack`` the source is an archive (zip or tar), and the version is
        what lies in it; BadArchive when it can't be unpacked, naming the member.
        """
        sender = Sender(self._hub, ref, progress)
        with unpacked(Path(source)) if unpack else nullcontext(Path(source)) as tree:
            found = sender.send(tree, message=message, origin=origin, again=again)
        return DatasetVersion.model_validate(found)

    def verify(self, ref: str, *, progress: Progress = silent) -> Verification:
        """Let the hub read all stored bytes of a version, and return which files are damaged.

        What has a good copy somewhere in the hub is restored. The rest is restored by uploading
        the same files again; which other versions need it as well is told with it.
        """
        version = self.version(ref)
        damaged: list[Damage] = []
        sharing: list[Sharer] = []
        path = f"{self._version_path(version.id)}/verify"
        with self._hub.stream("POST", path) as answer:
            for line in answer.iter_lines():
                told = Verification.model_validate_json(line)
                damaged += told.damaged
                sharing += told.sharing
                progress(told.bytes, version.bytes)
                if told.done:
                    return told.model_copy(update={"damaged": damaged, "sharing": sharing})
        raise Unavailable(
            "The hub stopped before it had read everything.", hint="Run the same command again."
        )

    def draft(self, ref: str, *, message: str = "", origin: str = "upload") -> Draft:
        """Begin a version that is built file by file, on the latest one."""
        made = self._hub.post(
            f"{self._path(ref)}/uploads", {"message": message, "source": origin}
        )  # fmt: skip
        return Draft(self._hub, self._path(ref), made)

    def write(self, ref: str, path: str, data: bytes, *, message: str = "") -> DatasetVersion:
        """Make a version in which one file is new or has other bytes; the rest is the latest's."""
        found = self._hub.request(
            "PUT", f"{self._path(ref)}/files/{quote(path)}", content=data,
            params={"message": message}, headers={**BINARY, **once()},
        )  # fmt: skip
        return DatasetVersion.model_validate(found)

    def tags(self, ref: str) -> Iterator[Tag]:
        """Yield a dataset's tags, by name."""
        return map(Tag.model_validate, self._hub.pages(f"{self._path(ref)}/tags"))

    def tag(self, ref: str, name: str, *, expected: str | None = None) -> Tag:
        """Set a tag on a version, or move it there in one step.

        Parameters
        ----------
        expected : str or None
            The 7 characters of the version that it must stand for now, empty when it must not
            exist yet; TagMoved when that is not so.
        """
        body = {"version": split(ref)[1], "expected": expected}
        return Tag.model_validate(self._hub.put(f"{self._path(ref)}/tags/{quote(name)}", body))

    def untag(self, ref: str, name: str) -> None:
        """Delete a tag; NoSuchTag when there is none."""
        self._hub.delete(f"{self._path(ref)}/tags/{quote(name)}")

    def diff(self, old: str, new: str) -> Iterator[Change]:
        """Yield the files that differ between two versions of one dataset, by path."""
        path = f"{self._version_path(old)}/diff"
        return map(Change.model_validate, self._hub.pages(path, to=split(new)[1], limit=1000))

    def differing(
        self, ref: str, folder: Path | str, *, progress: Progress = silent
    ) -> Sequence[str]:
        """Return the paths of a version that a folder lacks or has with other bytes."""
        checker = FolderChecker(self._hub, self._version_path(ref), progress)
        return checker.differing(Path(folder))

    def lineage(self, ref: str) -> Lineage:
        """Return where a version came from, and what came of it."""
        return Lineage.model_validate(self._hub.get(f"{self._version_path(ref)}/lineage"))

    def delete_version(self, ref: str) -> None:
        """Delete one version; InUse when something depends on it."""
        self._hub.delete(self._version_path(ref))

    def restore(self, ref: str) -> DatasetVersion:
        """Take a deleted version back; NoSuchVersion when its bytes have been collected."""
        found = self._hub.post(f"{self._version_path(ref)}/restore")
        return DatasetVersion.model_validate(found)

    def collect(self, ref: str, *, really: bool = False, undo: bool = False) -> Collection:
        """Return what only deleted versions hold; ``really``: let it go in a week."""
        path = f"{self._path(ref)}/garbage"
        found = self._hub.post(path, {"undo": undo}) if really or undo else self._hub.get(path)
        return Collection.model_validate(found)

    def export_dvc(self, ref: str) -> DvcExport:
        """Return the texts that make a DVC repository use a version."""
        return DvcExport.model_validate(self._hub.get(f"{self._version_path(ref)}/dvc"))
