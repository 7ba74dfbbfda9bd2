"""The few calls to the cluster's API that a start needs; each may be made twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from kubernetes_asyncio.client import ApiException, CoreV1Api

from nablahub_spawner.failures import SpawnFailed
from nablahub_spawner.kubernetes import capacity, objects, reasons
from nablahub_spawner.kubernetes.objects import Json

#: Seconds that a look at all nodes is good for: spawn pages are loaded more often.
NODES_KEPT = 2.0
#: How often a pod is made anew while one of its name goes away, and the seconds between.
TRIES, PAUSE = 40, 0.25
_nodes: dict[int, tuple[float, list[capacity.Node] | None]] = {}


class Cluster:
    """A namespace, as the hub's own account may use it.

    Parameters
    ----------
    api : kubernetes_asyncio.client.CoreV1Api
        The client.
    namespace : str
        Where servers run.
    log : logging.Logger
        The hub's log.
    """

    def __init__(self, api: CoreV1Api, namespace: str, log: Any) -> None:
        self._api, self._namespace, self._log = api, namespace, log

    async def nodes(self) -> list[capacity.Node] | None:
        """Return all nodes, as of two seconds ago or less; None when the hub may not list them."""
        key = id(self._api)
        at, found = _nodes.get(key, (0.0, None))
        if time.monotonic() - at > NODES_KEPT:
            found = await self._list_nodes()
            _nodes[key] = (time.monotonic(), found)
        return found

    async def _list_nodes(self) -> list[capacity.Node] | None:
        try:
            answer = await self._api.list_node()
        except ApiException as error:
            if error.status != 403:
                raise
            self._log.warning("The hub may not list nodes: no instance type is refused beforehand")
            return None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._log.warning("The cluster does not answer, so its nodes are not known: %r", error)
            return None
        plain = self._api.api_client.sanitize_for_serialization(answer.items)
        return [capacity.Node.of(node) for node in plain]

    async def check_quota(self, pod: Json) -> None:
        """Refuse a pod that a quota of the namespace leaves no room for.

        Raises
        ------
        SpawnFailed
            When a quota would be exceeded. Quotas that the hub may not read are left to the
            API's own answer.
        """
        try:
            answer = await self._api.list_namespaced_resource_quota(self._namespace)
        except ApiException as error:
            if error.status != 403:
                raise
            return
        if not answer.items:
            return
        quotas = self._api.api_client.sanitize_for_serialization(answer.items)
        resources = next(
            c["resources"] for c in pod["spec"]["containers"] if c["name"] == objects.CONTAINER
        )
        sentence = capacity.over_quota(quotas, resources)
        if sentence is not None:
            verdict = reasons.over_quota(sentence)
            raise SpawnFailed(verdict.sentence, verdict.remedy, reason=verdict.reason)

    async def make_claim(self, claim: Json) -> None:
        """Make a claim, unless there is one of its name."""
        name = claim["metadata"]["name"]
        try:
            await self._api.create_namespaced_persistent_volume_claim(self._namespace, claim)
        except ApiException as error:
            if error.status == 409:
                return
            # A quota is looked at before names are: the claim may be there all the same.
            if error.status != 403 or not await self._has_claim(name):
                raise

    async def _has_claim(self, name: str) -> bool:
        try:
            await self._api.read_namespaced_persistent_volume_claim(name, self._namespace)
        except ApiException as error:
            if error.status != 404:
                raise
            return False
        return True

    async def put_secret(self, secret: Json) -> None:
        """Make a secret, in place of one of its name."""
        name = secret["metadata"]["name"]
        try:
            await self._api.create_namespaced_secret(self._namespace, secret)
        except ApiException as error:
            if error.status != 409:
                raise
            await self.remove_secret(name)
            await self._api.create_namespaced_secret(self._namespace, secret)

    async def remove_secret(self, name: str) -> None:
        """Remove a secret, if it is there."""
        try:
            await self._api.delete_namespaced_secret(name, self._namespace)
        except ApiException as error:
            if error.status != 404:
                raise

    async def make_pod(self, pod: Json, remove_old: Callable[[], Awaitable[None]]) -> str:
        """Make a pod and return its uid.

        Parameters
        ----------
        pod : dict
            The pod.
        remove_old : callable
            Removes a pod of that name, left over from a hub that was killed.
        """
        for attempt in range(TRIES):
            try:
                made = await self._api.create_namespaced_pod(self._namespace, pod)
            except ApiException as error:
                if error.status != 409 or attempt == TRIES - 1:
                    raise
                await remove_old()
                await asyncio.sleep(PAUSE)  # its name is free some time after its last sign
            else:
                break
        return str(made.metadata.uid)

    async def own(self, name: str, uid: str) -> None:
        """Let the cluster remove a secret with the pod of its name."""
        patch = objects.owned_by(name, uid)
        await self._api.patch_namespaced_secret(name, self._namespace, patch)
