"""Where the mounts of jobs lie on the machine of the process runner."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from nablahub.core.environments import Environments
from nablahub.core.errors import NablaError
from nablahub.core.settings import Settings
from nablahub.jobs.data import Materialiser
from nablahub.jobs.mounting import JobMounts
from nablahub.jobs.runners.contract import Mount, TaskRefused, TaskSpec
from nablahub.jobs.workspaces.service import Workspaces


class LocalLayout:
    """The state folder's way to hold storage, volumes and materialised versions.

    Parameters
    ----------
    settings : Settings
        Where the state folder and the environments are.
    sources : mapping of str to Materialiser
        Who turns versions into folders, by the kind of mount.
    workspaces : Workspaces
        Who has the folders that go with jobs.
    """

    def __init__(
        self, settings: Settings, sources: Mapping[str, Materialiser], workspaces: Workspaces
    ) -> None:
        self._workspaces = workspaces
        self._state = settings.state
        self._sources = sources
        self.mounts: JobMounts | None = None
        self.environments = Environments(settings.environments)

    def source(self, task: TaskSpec, mount: Mount) -> Path:
        """Return the host path of a mount; storage and volumes are made when they are missing."""
        if mount.kind == "bucket":
            if self.mounts is None:
                raise TaskRefused("Buckets are not mounted here.")
            try:
                return self.mounts.path(task.name, mount.own_name)
            except NablaError as error:
                raise TaskRefused(str(error)) from error
        if mount.kind in self._sources:
            try:
                return self._sources[mount.kind].materialise(mount.ref)
            except NablaError as error:
                raise TaskRefused(str(error)) from error
        root = {
            "storage": self._state.storage, "volume": self._state.volumes, "keys": self._state.keys
        }[mount.kind]  # fmt: skip
        part = PurePosixPath(mount.ref)
        if part.is_absolute() or ".." in part.parts or not part.parts:
            raise TaskRefused(f"{mount.ref!r} is no name of a {mount.kind}.")
        path = root / part
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def lay(self, mount: Mount, target: Path) -> None:
        """Make a folder that is not there yet be a copy of a workspace."""
        try:
            self._workspaces.unpack(mount.ref, target)
        except NablaError as error:
            raise TaskRefused(str(error)) from error

    def cached_at(self, mount: Mount) -> str:
        """Return where a dataset's or model's version lies in a cache, `<team>/<name>`."""
        try:
            return self._sources[mount.kind].cached_at(mount.ref)
        except NablaError as error:
            raise TaskRefused(str(error)) from error

    def environment(self, name: str) -> Path:
        """Return the folder of an environment, built by now."""
        found = self.environments.find(name)
        if found is None:
            raise TaskRefused(f"The environment {name!r} is not built.")
        return found.prefix
