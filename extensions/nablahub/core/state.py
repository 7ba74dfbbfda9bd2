"""The state directory: the one place that knows where things lie on one machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from nablahub.core import kubenames


def default_state_dir() -> Path:
    """Return ``$NABLAHUB_STATE_DIR``, else ``nablahub`` in the user's data folder (XDG)."""
    given = os.environ.get("NABLAHUB_STATE_DIR")
    if given:
        return Path(given).expanduser().absolute()
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return (Path(base).expanduser() / "nablahub").absolute()


@dataclass(frozen=True)
class StateDir:
    """Paths of one hub's state; nothing else in the project joins them by hand.

    Parameters
    ----------
    root : pathlib.Path
        Absolute path; made with mode 0700 by :meth:`make`.
    """

    root: Path

    def make(self) -> StateDir:
        """Make the folders that are always there, with mode 0700, and return self."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)
        for folder in (
            self.secrets, self.hub, self.service, self.backups, self.traefik_dynamic, self.objects,
            self.cache, self.homes, self.storage, self.volumes, self.jobs, self.logs, self.run,
        ):  # fmt: skip
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self

    @property
    def config(self) -> Path:
        """What was chosen once for this hub: ports, user."""
        return self.root / "config.json"

    @property
    def instance_types(self) -> Path:
        """The administrator's instance types, where no other file is named; it need not exist."""
        return self.root / "instance-types.yaml"

    @property
    def dataset_catalog(self) -> Path:
        """The administrator's public datasets, where no other file is named; it need not exist."""
        return self.root / "dataset-catalog.yaml"

    @property
    def kept_instance_types(self) -> Path:
        """The instance types that were last found sound, for when the file is broken."""
        return self.run / "instance-types.yaml"

    @property
    def secrets(self) -> Path:
        """Files of mode 0600, one secret each."""
        return self.root / "secrets"

    @property
    def encryption_keys(self) -> Path:
        """Keys that the database's secrets are encrypted with, a line each, newest first."""
        return self.secrets / "encryption_keys"

    @property
    def hub(self) -> Path:
        """JupyterHub's own files."""
        return self.root / "hub"

    @property
    def service(self) -> Path:
        """The hub service's files."""
        return self.root / "service"

    @property
    def database(self) -> Path:
        """The service's SQLite file."""
        return self.service / "nablahub.sqlite"

    @property
    def settings(self) -> Path:
        """The service's settings, as JSON."""
        return self.service / "settings.json"

    @property
    def object_store(self) -> Path:
        """Which store the datasets of the hub lie in; empty or missing: in this directory."""
        return self.service / "object-store"

    @property
    def backups(self) -> Path:
        """Copies of the database made before migrations."""
        return self.service / "backups"

    @property
    def traefik(self) -> Path:
        """Traefik's static configuration."""
        return self.root / "traefik"

    @property
    def traefik_dynamic(self) -> Path:
        """The folder that Traefik watches: one file for the hub's routes, one for ours."""
        return self.traefik / "dynamic"

    @property
    def deployments_routes(self) -> Path:
        """Our file in the folder that Traefik watches (its directory provider skips .json)."""
        return self.traefik_dynamic / "deployments.yaml"

    @property
    def objects(self) -> Path:
        """Dataset objects, a folder for each team."""
        return self.root / "objects"

    @property
    def cache(self) -> Path:
        """Materialised dataset versions, ``<team>/<version>``."""
        return self.root / "cache"

    @property
    def homes(self) -> Path:
        """Home folders of users."""
        return self.root / "homes"

    @property
    def storage(self) -> Path:
        """What is seen as ``/storage``, a folder for each team."""
        return self.root / "storage"

    @property
    def volumes(self) -> Path:
        """Volumes of workflow runs, ``<run>/<job>.<output>``; gone when the run ends."""
        return self.root / "volumes"

    @property
    def mounts(self) -> Path:
        """Folders of buckets that are mounted, ``<job>/<name>``; never delete it while they are."""
        return self.root / "mounts"

    @property
    def server_mounts(self) -> Path:
        """The same for notebook servers: ``<mount>/<name>``."""
        return self.root / "server-mounts"

    def server_buckets(self, user: str, server: str) -> Path:
        """Where a notebook server sees its mounted buckets: below ``read`` and ``write``."""
        return self.root / "server-buckets" / self.server_name(user, server)

    def server(self, user: str, server: str) -> Path:
        """What belongs to one notebook server alone."""
        return self.run / "servers" / self.server_name(user, server)

    @staticmethod
    def server_name(user: str, server: str) -> str:
        """Return the name that no two servers share; with a dot, which no folder's name has."""
        own = kubenames.folder(user)
        return f"{own}.{kubenames.folder(server)}" if server else own

    @property
    def jobs(self) -> Path:
        """A folder for each job: its task, log, exit status, artifacts."""
        return self.root / "jobs"

    @property
    def keys(self) -> Path:
        """Hashes of prediction keys, a folder for each deployment."""
        return self.root / "keys"

    @property
    def environments(self) -> Path:
        """Python environments that jobs run in."""
        given = os.environ.get("NABLAHUB_ENVIRONMENTS_DIR")
        return Path(given).absolute() if given else self.root / "environments"

    @property
    def logs(self) -> Path:
        """Logs of hub, service and Traefik."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """Locks, sockets and process ids."""
        return self.root / "run"

    @property
    def usage(self) -> Path:
        """What folders of teams and users take of the disk, as it was last measured."""
        return self.run / "usage.json"

    @property
    def client(self) -> Path:
        """URL and token for the command line of the same user on this machine."""
        return self.run / "client.json"

    def secret(self, name: str) -> str:
        """Return the secret of that name; FileNotFoundError when it was never made."""
        return (self.secrets / name).read_text().strip()
