"""The claims behind volumes, which outlive the pods that made them."""

from __future__ import annotations

import logging

from nablahub.core.kubernetes import KubernetesSettings
from nablahub.jobs.runners.kubernetes.api import Api, ApiError, Away
from nablahub.jobs.runners.kubernetes.names import REF, labels

log = logging.getLogger(__name__)


class ClaimVolumes:
    """Volumes are claims; see `Volumes`. Claims of storage and caches have another label.

    Parameters
    ----------
    api : Api
        The cluster.
    settings : KubernetesSettings
        Whose claims they are.
    """

    def __init__(self, api: Api, settings: KubernetesSettings) -> None:
        self._api = api
        wanted = {**labels(settings.hub), "component": "volume"}
        self._selector = ",".join(f"{name}={value}" for name, value in wanted.items())

    async def owners(self) -> set[str]:
        """See `Volumes.owners`."""
        try:
            return {owner for owner, _ in await self._all()}
        except (ApiError, *Away) as error:
            # Asked when the service starts, which must not fail for that: the next start asks too.
            log.warning("Volumes of runs that have ended may be left in the cluster: %r", error)
            return set()

    async def remove(self, owner: str) -> None:
        """See `Volumes.remove`. A claim that a pod still has goes with the pod."""
        for found, name in await self._all():
            if found == owner:
                await self._api.delete("PersistentVolumeClaim", name)

    async def _all(self) -> list[tuple[str, str]]:
        """Return each volume's owner and the name of its claim."""
        await self._api.connect()
        claims, _ = await self._api.list("PersistentVolumeClaim", self._selector)
        return [
            (each["metadata"]["annotations"][REF].partition("/")[0], each["metadata"]["name"])
            for each in claims
            if REF in each["metadata"].get("annotations", {})
        ]
