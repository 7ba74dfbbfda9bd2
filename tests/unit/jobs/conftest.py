"""A real service with teams, projects, datasets and jobs, over real sandboxes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from nablahub.core.environments import Environments
from nablahub.core.instances import Machine
from nablahub.core.state import StateDir
from nablahub.core.transport import Transport
from nablahub.jobs.api import JobsAPI
from nablahub.jobs.runners.process.shutdown import end_all
from nablahub.jobs.runners.remove import remove_tree
from nablahub.jobs.types import Job, JobSpec
from nablahub.projects.api import ProjectsAPI
from nablahub.service.app import database_of
from tests.support.s3 import SeaweedFS
from tests.support.service import RunningService
from tests.unit.jobs.pods import EXTENSIONS, Pod

__all__ = ["EXTENSIONS"]


@pytest.fixture(scope="session")
def environments() -> Path:
    """The folder of environments, `default` built in it."""
    built = Path(__file__).parents[3] / ".build" / "environments"
    folder = Path(os.environ.get("NABLAHUB_ENVIRONMENTS_DIR", built))
    Environments(folder).ensure("default")
    return folder


@pytest.fixture
def pod(tmp_path: Path, s3: SeaweedFS) -> Iterator[Pod]:
    """A job that is a pod's, and the pod's part of it."""
    made = Pod(tmp_path, s3)
    yield made
    made.hub.close()
    made.service.stop()


class Jobs:
    """Jobs of alice in a project of hers."""

    def __init__(self, service: RunningService, project: str) -> None:
        self.service = service
        self.api = JobsAPI(service.transport("alice"))
        self.project = project

    def submit(self, *command: str, **fields: object) -> Job:
        """Submit a job of the system's shell."""
        spec = {"project_id": self.project, "command": list(command), **fields}
        return self.api.submit(JobSpec.model_validate(spec))

    def shell(self, script: str, **fields: object) -> Job:
        """Submit a script of sh and wait for its end."""
        return self.api.wait(self.submit("sh", "-c", script, **fields).id)


def until(jobs: Jobs, job_id: str, wanted: Callable[[dict[str, Any]], bool]) -> None:
    """Wait by events until a job is as wanted."""
    hub = jobs.service.transport()
    stream = hub.events(last_id="0")
    try:
        for event in stream:
            if event.data.get("id") == job_id and wanted(hub.get(f"/jobs/{job_id}")):
                return
    finally:
        stream.close()


class Life:
    """One state folder over several lives of the service."""

    def __init__(self, root: Path, environments: Path) -> None:
        self.root = root / "state of it"
        self._environments = environments
        self.service = self._start()
        self.project = ProjectsAPI(self.transport()).create("work").id

    def _start(self) -> RunningService:
        with pytest.MonkeyPatch.context() as patch:
            found = Machine.detect()
            # On whatever machine: a second job of the default type has to wait.
            small = replace(found, cpus=min(2, found.cpus))
            patch.setattr(Machine, "detect", lambda: small)
            return RunningService(
                self.root, EXTENSIONS, environments_dir=self._environments
            ).start()

    def rows[T](self, work: Callable[[Session], T]) -> T:
        """Run work on the database while no service runs."""
        database = database_of(self.service.settings)
        try:
            return database.write_sync(work)
        finally:
            database.close()

    def transport(self, name: str = "alice") -> Transport:
        return self.service.transport(name)

    def begin(self) -> None:
        """Start the service again, after `service.stop()`; jobs went on meanwhile."""
        self.service = self._start()

    def storage(self) -> Path:
        """The folder that alice's jobs see as /storage."""
        team: str = self.transport().get(f"/projects/{self.project}")["team_id"]
        return StateDir(self.root).storage / team

    @property
    def jobs(self) -> Jobs:
        return Jobs(self.service, self.project)


@pytest.fixture
def life(tmp_path: Path, environments: Path) -> Iterator[Life]:
    """A service that may be ended and started again."""
    yield from living(tmp_path, environments)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, environments: Path) -> Iterator[Life]:
    """A service for the tests of one module, which must not end it."""
    yield from living(tmp_path_factory.mktemp("shared"), environments)


@pytest.fixture
def jobs(shared: Life) -> Jobs:
    """Jobs of alice."""
    return shared.jobs


def living(root: Path, environments: Path) -> Iterator[Life]:
    """Start a service; afterwards end it and all it started."""
    made = Life(root, environments)
    yield made
    made.service.stop()
    end_all(StateDir(made.root))
    # Some tests nest folders deeper than what clears up old temporary folders can go.
    remove_tree(made.root / "jobs")
