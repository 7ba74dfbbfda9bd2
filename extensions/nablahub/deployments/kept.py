"""Routes kept in the cluster: for a Traefik that starts while the service cannot be asked.

A Traefik that runs keeps the routes it fetched last, whatever becomes of the service. One that
starts then has none, so the routes lie in a ConfigMap, too, which its pod reads once, at its start.
They stand below those that it fetches, as soon as it can.
"""

from __future__ import annotations

import json
import logging
from typing import Any, Final

from nablahub.core.settings import Settings

FILE_NAME: Final = "deployments.yaml"
#: What an object of a cluster holds at most: https://kubernetes.io/docs/concepts/configuration/configmap/
LARGEST: Final = 1 << 20
log = logging.getLogger(__name__)


class KeptRoutes:
    """Writes the routes into the ConfigMap that the settings name, if they do."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._wanted: str | None = None
        self._there: str | None = None

    def want(self, configuration: dict[str, Any]) -> bool:
        """Take what is to be kept; return whether :meth:`write` is due."""
        if self._settings.routes_config_map is None:
            return False
        content = json.dumps(configuration, sort_keys=True) + "\n"
        if len(content.encode()) > LARGEST - 1024:
            log.warning("the routes of deployments are too many to be kept in the cluster")
            return False
        self._wanted = content
        return content != self._there

    async def write(self) -> None:
        """Write what is wanted last; raises what the cluster makes of it, to be tried again."""
        # Here and not above: the extra [kubernetes] is installed where there is a cluster.
        from nablahub.jobs.runners.kubernetes.api import Api

        wanted, place = self._wanted, self._settings.routes_config_map
        if wanted is None or place is None or wanted == self._there:
            return
        namespace, _, name = place.partition("/")
        cluster = self._settings.kubernetes.model_copy(update={"namespace": namespace})
        api = Api(cluster)
        await api.connect()
        try:
            data = {"data": {FILE_NAME: wanted}}
            if not await api.patch("ConfigMap", name, data):
                meta = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
                await api.create(meta | data)
        finally:
            await api.close()
        self._there = wanted
