"""What workflows ask of the slices below, in one place.

The rules of workflows know this protocol only; :class:`SliceWork` is it, made of the real services.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy.orm import Session

from nablahub.core.permissions import Principal


@dataclass(frozen=True)
class InputMount:
    """Something a job finds at ``/inputs/<name>``: which version, volume or bucket, or the text."""

    name: str
    kind: str
    ref: str
    read_only: bool = True


@dataclass(frozen=True)
class OutputMount:
    """Something a job leaves at ``/outputs/<name>``: for which dataset, or which volume."""

    name: str
    kind: str
    ref: str = ""


@dataclass(frozen=True)
class JobRequest:
    """A job to be submitted.

    Parameters
    ----------
    name
        For people.
    command
        As the job sees it.
    image
        What the spec calls the environment; None for the default one.
    instance_type
        None for the default one.
    tools
        Environments that are there besides, under ``/opt/nablahub/tools``.
    files
        Laid into ``/work``: relative path → text.
    timeout
        Seconds, None for none.
    workspace
        Digest of the folder it begins in, None for none.
    """

    name: str
    command: tuple[str, ...]
    image: str | None = None
    instance_type: str | None = None
    tools: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[InputMount, ...] = ()
    outputs: tuple[OutputMount, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    timeout: int | None = None
    workspace: str | None = None


@dataclass(frozen=True)
class Place:
    """Whose a run is, and in whose name it acts, with the groups they had when they started it."""

    run: str
    team_id: str
    project_id: str
    user: str
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True)
class JobView:
    """What became of a job so far."""

    state: str
    reason: str = ""
    message: str = ""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    started_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True)
class ModelRequest:
    """A model version to be made of a dataset version.

    Parameters
    ----------
    name
        Of the model, which is made when the project has none of that name.
    type
        The model's format.
    version
        Id of the dataset version.
    """

    name: str
    type: str
    version: str


class Work(Protocol):
    """The slices below. All of it happens in the caller's transaction, but for `read_model`."""

    def resolve_dataset(self, session: Session, who: Principal, place: Place, ref: str) -> str:
        """Return the version that ``ref`` means now; NablaError when there is none."""

    def resolve_model(self, session: Session, who: Principal, place: Place, ref: str) -> str:
        """Return the model version that ``ref`` means now; NablaError when there is none."""

    def resolve_bucket(
        self, session: Session, who: Principal, place: Place, ref: str, *, read_only: bool
    ) -> str:
        """Return the folder of a bucket that ``ref`` means; NablaError when it cannot be had."""

    def ensure_dataset(self, session: Session, who: Principal, place: Place, ref: str) -> str:
        """Return the id of the dataset called ``ref``, making it in the project when missing."""

    def submit(self, session: Session, place: Place, request: JobRequest, key: str) -> str:
        """Submit a job and return its id; the same key gives the same job."""

    def look(self, session: Session, run: str) -> Mapping[str, JobView]:
        """Return what became of a run's jobs so far, by their ids."""

    def cancel(self, session: Session, job_id: str) -> bool:
        """Ask a job to end; return whether that is news: it has not ended, nobody asked before."""

    def forget(self, session: Session, run: str) -> None:
        """Delete the jobs of a run that has ended, with their logs."""

    def read_model(self, place: Place, asked: ModelRequest) -> object:
        """Look at the files of a model; in no transaction, since it blocks as the store does."""

    def create_model(
        self, session: Session, place: Place, asked: ModelRequest, files: Any, key: str
    ) -> str:
        """Make a model version of files that were read, return its ref; idempotent by the key."""
