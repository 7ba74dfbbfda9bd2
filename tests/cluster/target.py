"""The cluster that the tests were given."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from kubernetes_asyncio import client, config


@dataclass(frozen=True)
class Cluster:
    """A cluster, and this run's namespace in it."""

    kubeconfig: Path
    namespace: str

    @asynccontextmanager
    async def api(self) -> AsyncIterator[client.ApiClient]:
        """Yield a client with the kubeconfig's own rights."""
        settings = client.Configuration()
        await config.load_kube_config(str(self.kubeconfig), client_configuration=settings)
        async with client.ApiClient(settings) as found:
            yield found

    def image(self, name: str) -> str:
        """Return the reference of one of our images, such as ``runner``."""
        prefix = os.environ.get("NABLAHUB_IMAGE_PREFIX", "localhost/nablahub-")
        return f"{prefix}{name}:{os.environ.get('NABLAHUB_IMAGE_TAG', 'test')}"
