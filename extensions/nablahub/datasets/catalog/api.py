"""The catalog over the REST API."""

from __future__ import annotations

from nablahub.core.transport import Transport
from nablahub.datasets.catalog.types import CatalogEntry, CatalogList
from nablahub.datasets.types import DatasetVersion


class CatalogAPI:
    """The catalog of public datasets, as a client sees it."""

    def __init__(self, transport: Transport) -> None:
        self._hub = transport

    def list(self) -> CatalogList:
        """Return all entries; for administrators with what is wrong with their file."""
        return CatalogList.model_validate(self._hub.get("/dataset-catalog"))

    def get(self, name: str) -> CatalogEntry:
        """Return one entry; NoSuchEntry when there is none of that name."""
        return CatalogEntry.model_validate(self._hub.get(f"/dataset-catalog/{name}"))

    def add(
        self, name: str, *, dataset: str | None = None, project: str | None = None
    ) -> DatasetVersion:
        """Make a dataset of an entry, and return the version with its files.

        Done again it returns the same version.

        Parameters
        ----------
        dataset : str or None
            Name of the dataset; None: the entry's.
        project : str or None
            Id of the project it is shown in.

        Raises
        ------
        NameTaken
            When the team has another dataset of that name.
        WrongChecksum, SourceAway
            When its source has other bytes, or does not answer.
        """
        params = {"name": dataset, "project": project}
        with self._hub.stream("POST", f"/dataset-catalog/{name}", params=params) as answer:
            return DatasetVersion.model_validate_json(answer.read())
