"""What clients of datasets and of models share: a thing with a name, and its versions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, Self

from nablahub.datasets.reading import FilesAPI
from nablahub.datasets.sending import Progress, silent


class Identified(Protocol):
    """A type of the API that has an id."""

    id: str

    @classmethod
    def model_validate(cls, obj: Any, /) -> Self:
        """Return what an answer tells."""
        ...


class Named(Identified, Protocol):
    """One that has a revision as well, which goes up with each change."""

    revision: int


class VersionedAPI[Thing: Named, Version: Identified](FilesAPI):
    """Things that have versions; a reference is an id or name, maybe with ``:version``."""

    _thing: type[Thing]
    _version: type[Version]

    def get(self, ref: str) -> Thing:
        """Return the one of an id or name; NotFound when you have none such."""
        return self._thing.model_validate(self._hub.get(self._path(ref)))

    def change(self, thing: Thing, **fields: str | bool) -> Thing:
        """Change fields of the revision that was read."""
        path = f"{self._root}/{thing.id}"
        return self._thing.model_validate(self._hub.patch(path, fields, revision=thing.revision))

    def versions(self, ref: str) -> Iterator[Version]:
        """Yield the versions of the one of an id or name, newest first."""
        return map(self._version.model_validate, self._hub.pages(f"{self._path(ref)}/versions"))

    def version(self, ref: str) -> Version:
        """Return one version."""
        return self._version.model_validate(self._hub.get(self._version_path(ref)))

    def download(
        self,
        ref: str,
        target: Path | str,
        *,
        path: str | None = None,
        progress: Progress = silent,
        overwrite: bool = True,
    ) -> Version:
        """Get a whole version into a folder, or one file of it to a file name.

        Raises
        ------
        WouldOverwrite
            When a file is there with other bytes and ``overwrite`` is false.
        NoSuchFile
            When ``path`` is not in the version.
        """
        version = self.version(ref)
        self.fetch(version.id, Path(target), path=path, progress=progress, overwrite=overwrite)
        return version
