"""The few calls to the cluster's API that a start needs; each may be made twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
from kubernetes_asyncio.client import ApiException, CoreV1Api

from nablahub.core.claims import outdated
from nablahub.core.instances import InstanceType
from nablahub.core.nodes import Node
from nablahub_spawner.failures import SpawnFailed
from nablahub_spawner.kubernetes import capacity, objects, reasons
from nablahub_spawner.kubernetes.nodes import nodes_of
from nablahub_spawner.kubernetes.objects import Json

#: Why no node of these could ever run an instance of a type; None when one could.
Never = Callable[[InstanceType, list[Node]], str | None]

#: How often a pod is made anew while one of its name goes away, and the seconds between.
TRIES, PAUSE = 40, 0.25


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

    async def misfits(
        self, types: Mapping[str, InstanceType], how: str, never: Never
    ) -> dict[str, str | None]:
        """Return for each type why no node can ever give it; None when one can, or nobody knows.

        Parameters
        ----------
        types : mapping of str to InstanceType
            The same object as long as they are the same.
        how : str
            What beside the type decides what `never` says.
        never : callable
            Judges one type by the nodes.
        """
        seen = nodes_of(self._api)
        nodes = await seen.now(self._list_nodes)
        if nodes is None:
            return dict.fromkeys(types)
        judged = seen.judged(
            nodes, types, how, lambda: {name: never(kind, nodes) for name, kind in types.items()}
        )
        return dict(judged)

    async def _list_nodes(self) -> bytes | None:
        """Return the API's own answer: the client's objects of many nodes take a second to make."""
        try:
            answer = await self._api.list_node(resource_version="0", _preload_content=False)
            async with answer:
                body: bytes = await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._log.warning("The cluster does not answer, so its nodes are not known: %r", error)
            return None
        if answer.status == 403:
            self._log.warning("The hub may not list nodes: no instance type is refused beforehand")
            return None
        if answer.status != 200:
            raise ApiException(answer.status, body.decode(errors="replace")[:500])
        return body

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
        """Make a claim, unless there is one of its name; one without a volume follows settings."""
        name = claim["metadata"]["name"]
        for _ in range(TRIES):
            try:
                await self._api.create_namespaced_persistent_volume_claim(self._namespace, claim)
            except ApiException as error:
                # A quota is looked at before names are: the claim may be there all the same.
                if error.status not in (403, 409):
                    raise
                there = await self._claim(name)
                if there is None and error.status == 403:
                    raise
                if there is not None and not await self._remove_outdated(there, claim):
                    return
                await asyncio.sleep(PAUSE)  # its name is free when the cluster has let it go
            else:
                return

    async def _claim(self, name: str) -> Json | None:
        try:
            found = await self._api.read_namespaced_persistent_volume_claim(name, self._namespace)
        except ApiException as error:
            if error.status != 404:
                raise
            return None
        there: Json = self._api.api_client.sanitize_for_serialization(found)
        return there

    async def _remove_outdated(self, there: Json, wanted: Json) -> bool:
        """Whether a claim goes, because the settings have changed before it got its volume."""
        meta = there["metadata"]
        if meta.get("deletionTimestamp"):
            return True
        if not outdated(there, wanted):
            return False
        seen = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
        try:
            await self._api.delete_namespaced_persistent_volume_claim(
                meta["name"], self._namespace, body={"preconditions": seen}
            )
        except ApiException as error:
            if error.status == 403:
                self._log.warning(
                    "The claim %s was made by other settings and has no volume; the hub may not "
                    "delete it: delete it, or give the hub's account that right", meta["name"],
                )  # fmt: skip
                return False
            return error.status in (404, 409)  # gone, or it has just changed: look again
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
