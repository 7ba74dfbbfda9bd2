"""A real service with teams, projects, datasets and jobs, over real sandboxes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nablahub.core.environments import Environments
from nablahub.core.extension import discover
from nablahub.core.state import StateDir
from nablahub.core.transport import Transport
from nablahub.jobs.api import JobsAPI
from nablahub.jobs.runners.process.shutdown import end_all
from nablahub.jobs.types import Job, JobSpec
from nablahub.projects.api import ProjectsAPI
from tests.support.service import RunningService

BELOW = ("teams", "projects", "datasets", "models", "jobs")
EXTENSIONS = [extension for extension in discover() if extension.name in BELOW]


@pytest.fixture(scope="session")
def environments() -> Path:
    """The folder of environments, `default` built in it."""
    given = os.environ.get("NABLAHUB_ENVIRONMENTS_DIR")
    folder = Path(given) if given else Path("~/.cache/nablahub/environments").expanduser()
    Environments(folder).ensure("default")
    return folder


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


class Life:
    """One state folder over several lives of the service."""

    def __init__(self, root: Path, environments: Path) -> None:
        self.root = root / "state of it"
        self._environments = environments
        self.service = self._start()
        self.project = ProjectsAPI(self.transport()).create("work").id

    def _start(self) -> RunningService:
        return RunningService(self.root, EXTENSIONS, environments_dir=self._environments).start()

    def transport(self, name: str = "alice") -> Transport:
        return self.service.transport(name)

    def restart(self) -> None:
        """End the service and start it again; jobs go on meanwhile."""
        self.service.stop()
        self.service = self._start()

    @property
    def jobs(self) -> Jobs:
        return Jobs(self.service, self.project)


@pytest.fixture
def life(tmp_path: Path, environments: Path) -> Iterator[Life]:
    """A service that may be ended and started again."""
    made = Life(tmp_path, environments)
    yield made
    made.service.stop()
    end_all(StateDir(made.root))


@pytest.fixture
def jobs(life: Life) -> Jobs:
    """Jobs of alice."""
    return life.jobs
