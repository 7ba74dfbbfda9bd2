"""The real service whose jobs are pods, over several lives."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ruamel.yaml import YAML

from nablahub.core.extension import discover
from nablahub.jobs.api import JobsAPI
from nablahub.jobs.runners.kubernetes.api import Api
from nablahub.jobs.runners.kubernetes.names import selector
from nablahub.jobs.types import Job, JobSpec
from tests.cluster.helper import own_address
from tests.cluster.target import Cluster
from tests.support.service import RunningService

BELOW = ("teams", "projects", "storage", "datasets", "models", "jobs")
EXTENSIONS = [extension for extension in discover() if extension.name in BELOW]

KINDS = ("Job", "Secret")


class Life:
    """One state folder over several lives of a service whose jobs are pods."""

    def __init__(
        self,
        root: Path,
        cluster: Cluster,
        extensions: list[Any] = EXTENSIONS,
        settings: Mapping[str, Any] = MappingProxyType({}),
        **changes: Any,
    ) -> None:
        self.root, self._settings = root, settings
        self._extensions, self._changes = extensions, changes
        self.cluster = cluster
        given = YAML(typ="safe").load(cluster.kubeconfig)
        self.host = own_address(given["clusters"][0]["cluster"]["server"])
        self.hub_label = f"h{secrets.token_hex(5)}"
        self.port = 0
        self.begin()
        self.project = self.service.hub().projects.create("work").id

    def begin(self) -> None:
        """Start the service, on the same port each time."""
        self.service = RunningService(
            self.root, self._extensions, runner="kubernetes", service_host=self.host,
            service_port=self.port,
            kubernetes={
                "kubeconfig": self.cluster.kubeconfig, "namespace": self.cluster.namespace,
                "hub": self.hub_label, "image": self.cluster.image("runner"),
                "pull_policy": "Never", "storage_size": "64Mi", "cpu_request": 0.1,
                "stuck_seconds": 30,
                "images": {"nowhere": "localhost/nonsuch:1", "broken": "localhost/NOT valid"},
                **self._changes,
            },
            **self._settings,
        ).start()  # fmt: skip
        self.port = self.service.port

    def submit(self, script: str, **fields: object) -> Job:
        """Submit a script of sh."""
        spec = {"project_id": self.project, "command": ["sh", "-c", script],
                "instance_type": "C3", **fields}  # fmt: skip
        return self.jobs.submit(JobSpec.model_validate(spec))

    @property
    def jobs(self) -> JobsAPI:
        """The client's part for jobs."""
        return JobsAPI(self.service.transport())

    def shell(self, script: str, **fields: object) -> Job:
        """Submit a script of sh and wait for its end."""
        return self.jobs.wait(self.submit(script, **fields).id)

    def objects(self) -> list[str]:
        """Names of the Jobs and Secrets that the cluster still has of this hub."""

        async def ask() -> list[str]:
            api = Api(self.service.settings.kubernetes)
            await api.connect()
            try:
                found = [await api.list(kind, selector(self.hub_label)) for kind in KINDS]
            finally:
                await api.close()
            return [each["metadata"]["name"] for items, _ in found for each in items]

        return asyncio.run(ask())
