"""What jobs need of datasets and models: the two seams by which data comes in and goes out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from sqlalchemy.orm import Session

from nablahub.core.permissions import Principal


class HasId(Protocol):
    """A row that is known by its id."""

    @property
    def id(self) -> str:
        """Its id."""


class Materialiser(Protocol):
    """Turns a reference into a folder that a job can read."""

    def resolve(self, session: Session, who: Principal | str, ref: str) -> HasId:
        """Return the version that a reference means now; NotFound when there is none."""

    def materialise(self, version_id: str) -> Path:
        """Return the read-only folder of a version, made when it is not there.

        Blocks; belongs into a thread. The folder is complete when it is seen and never changes.
        """

    def cached_at(self, version_id: str) -> str:
        """Return where a version's folder lies in a cache, `<team>/<name>`, made or not.

        NotFound when there is no such version. Blocks; belongs into a thread.
        """

    def place(self, session: Session, version_id: str) -> str:
        """Return the same within a transaction."""


class Committer(Protocol):
    """Turns a folder that a job left into a version."""

    def get_or_create(
        self, session: Session, team_id: str, project_id: str | None, name: str, author: str
    ) -> HasId:
        """Return the team's dataset of that id or name, made when it is not there."""

    def commit_tree(
        self,
        dataset_id: str,
        tree: Path,
        *,
        key: str,
        author: str,
        source: str,
        message: str = "",
        inputs: Sequence[str] = (),
    ) -> str:
        """Commit a folder and return the version's id; the same key gives the same version.

        ``inputs`` are the ids of the versions of datasets that the job read.

        Blocks; belongs into a thread. A user's code wrote the folder: links are not followed.
        """
